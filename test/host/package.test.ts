import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { productVersion } from '../../packaging/build.ts'
import { addRepository, installPackage, makeRepository, testDeb } from './apt-repo.ts'
import { bootHost, type Host } from './host.ts'

const units = ['comfy-machine.service', 'comfy-machine-revive.service', 'comfy-health.socket', 'comfy-health.service']

// One host goes through the life of the package in this order.
describe('the Debian package', () => {
  let host: Host

  beforeAll(async () => {
    host = await bootHost({ name: 'package' })
    await addRepository(host, await makeRepository([await testDeb()]))
    await installPackage(host)
  })

  afterAll(async () => {
    await host.stop()
  })

  test('comes from a repository that apt trusts by its key', async () => {
    const policy = await host.must(['apt-cache', 'policy', 'comfy-machine'])
    const lines = policy.split('\n').map((line) => line.trim())
    const current = lines.indexOf(`*** ${await productVersion()} 500`)
    expect(lines[current + 1]).toBe(
      '500 http://127.0.0.1:7080 stable/main amd64 Packages'.replace('amd64', await arch(host)),
    )
  })

  test('puts its files where the contract says', async () => {
    const files = (await host.must(['dpkg', '-L', 'comfy-machine'])).split('\n')
    expect(files).toEqual(
      expect.arrayContaining([
        '/usr/bin/comfy-machine',
        '/usr/lib/comfy-machine/main.js',
        '/usr/lib/comfy-machine/bin/node',
        '/usr/lib/comfy-machine/units/templates',
        ...units.map((name) => `/usr/lib/systemd/system/${name}`),
        '/etc/comfy-machine/machine.env',
        '/etc/comfy-machine/service-mapping.json',
      ]),
    )
    const owners = await host.must(
      'stat -c "%n %a %U:%G" /var/lib/comfy-machine /var/cache/comfy-machine /etc/comfy-machine/*',
    )
    expect(owners.trim().split('\n')).toEqual([
      '/var/lib/comfy-machine 1775 root:comfy',
      '/var/cache/comfy-machine 755 comfy-install:comfy',
      '/etc/comfy-machine/machine.env 644 root:root',
      '/etc/comfy-machine/service-mapping.json 644 root:root',
    ])
  })

  test('makes its users, without a login', async () => {
    const users = await host.must(['getent', 'passwd', 'comfy', 'comfy-install', 'comfy-agent'])
    expect(users).toMatch(/^comfy:.*nologin\ncomfy-install:.*nologin\ncomfy-agent:.*nologin\n$/)
    expect((await host.must(['id', '-nG', 'comfy-install'])).trim()).toBe('comfy')
    expect((await host.must(['id', '-nG', 'comfy-agent'])).trim()).toBe('comfy-agent')
  })

  test('brings a command that runs with the runtime of its own', async () => {
    expect(await host.must(['comfy-machine', '--version'])).toBe(`${await productVersion()}\n`)
    expect((await host.exec('command -v node')).code).not.toBe(0)
  })

  test('is enabled for the next boot and not started: machine.env wants editing first', async () => {
    expect((await host.must(['systemctl', 'is-enabled', 'comfy-machine.service'])).trim()).toBe('enabled')
    expect((await host.exec(['systemctl', 'is-active', 'comfy-machine.service'])).stdout.trim()).toBe('inactive')
  })

  test('ships units that systemd has nothing to say about', async () => {
    const verified = await host.exec(['systemd-analyze', 'verify', '--man=no', ...units])
    expect(verified).toEqual({ code: 0, stdout: '', stderr: '' })
  })

  test('gives the sandbox of comfy-machine.service what a controller does: units, owners, the bus', async () => {
    await host.write(
      '/run/systemd/system/comfy-machine.service.d/try.conf',
      '[Service]\nType=oneshot\nExecStart=\nWatchdogSec=0\n',
    )
    const script = [
      'set -e',
      'echo "[Unit]" > /run/systemd/system/comfy-try.target',
      'mkdir /var/lib/comfy-machine/try && chown comfy:comfy /var/lib/comfy-machine/try && chmod 0750 /var/lib/comfy-machine/try',
      'mkdir -p /srv/workspace && touch /srv/workspace/file /run/comfy-machine/file',
      'busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager Reload',
      'busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartUnit ss comfy-try.target replace',
      '! touch /usr/lib/comfy-machine/file',
    ].join('\n')
    await host.write('/srv/try.sh', script)
    await host.write(
      '/run/systemd/system/comfy-machine.service.d/try.conf',
      '[Service]\nType=oneshot\nRestart=no\nRestartForceExitStatus=\nExecStart=\nExecStart=/bin/sh /srv/try.sh\nWatchdogSec=0\n',
    )
    await host.must(['systemctl', 'daemon-reload'])
    const started = await host.exec(
      'systemctl start comfy-machine.service || journalctl -u comfy-machine.service -n 20 --no-pager',
    )
    expect(started.stdout).toBe('')
    expect((await host.must(['systemctl', 'is-active', 'comfy-try.target'])).trim()).toBe('active')
    expect((await host.must(['stat', '-c', '%a %U', '/var/lib/comfy-machine/try'])).trim()).toBe('750 comfy')
    await host.must('rm -r /run/systemd/system/comfy-machine.service.d && systemctl daemon-reload')
  })

  test('keeps edited settings and running units through an upgrade', async () => {
    await host.must('echo WORKERS=comfyui:1 >> /etc/comfy-machine/machine.env')
    await runInstance(host)
    const before = await host.must(['systemctl', 'show', '-P', 'MainPID', 'comfyui@gpu0.service'])
    await addRepository(host, await makeRepository([await testDeb({ version: '99.1.0' })]))
    await installPackage(host)
    expect(await host.must("dpkg -s comfy-machine | sed -n 's|^Version: ||p'")).toBe('99.1.0\n')
    expect(await host.read('/etc/comfy-machine/machine.env')).toMatch(/WORKERS=comfyui:1\n$/)
    expect(await host.must(['systemctl', 'show', '-P', 'MainPID', 'comfyui@gpu0.service'])).toBe(before)
    expect((await host.must(['systemctl', 'is-active', 'comfyui@gpu0.service'])).trim()).toBe('active')
  })

  test('stays disabled through a reinstall when the operator has disabled it', async () => {
    await host.must('systemctl disable comfy-machine.service && apt-get install -y -q --reinstall comfy-machine')
    expect((await host.exec(['systemctl', 'is-enabled', 'comfy-machine.service'])).stdout.trim()).toBe('disabled')
  })

  test('stops everything when it is removed, and keeps settings and models', async () => {
    await host.must('echo model > /var/lib/comfy-machine/models/model')
    await host.must('apt-get remove -y -q comfy-machine')
    expect((await host.exec(['systemctl', 'is-active', 'comfyui@gpu0.service'])).stdout.trim()).toBe('inactive')
    expect(await host.must('ls /run/systemd/system /run/comfy-machine 2>/dev/null | grep -c comfy || :')).toBe('0\n')
    expect(await host.read('/etc/comfy-machine/machine.env')).toMatch(/WORKERS=comfyui:1\n$/)
    expect(await host.read('/var/lib/comfy-machine/models/model')).toBe('model\n')
  })

  test('leaves nothing when it is purged', async () => {
    await host.must('apt-get purge -y -q comfy-machine')
    const left = await host.must(
      'find / -xdev \\( -name "*comfy-machine*" -o -name "comfyui@*" \\) -not -path "/proc/*" -not -path "/srv/*" -not -path "/tmp/*"',
    )
    const known = /^\/(etc\/apt\/(sources\.list\.d|keyrings)|var\/lib\/apt|var\/log|var\/cache\/apt)\//
    expect(left.split('\n').filter((name) => name !== '' && !known.test(name))).toEqual([])
  })
})

async function arch(host: Host): Promise<string> {
  return (await host.must(['dpkg', '--print-architecture'])).trim()
}

/** A unit as the controller renders it, with a program that needs nothing. */
async function runInstance(host: Host): Promise<void> {
  const unit = '[Service]\nType=exec\nExecStart=/bin/sleep infinity\n'
  await host.write('/run/systemd/system/comfyui@gpu0.service', unit)
  await host.must('systemctl daemon-reload && systemctl start comfyui@gpu0.service')
}

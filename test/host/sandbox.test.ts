import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fixtureUrls } from '../fixtures/scenario.ts'
import { bundleProgram } from './bundle.ts'
import type { Host } from './host.ts'
import type { Answer, Ran, Wish } from './inside/sandbox-run.ts'
import { bootMachine, WORKSPACE } from './machine.ts'

const NODE = '/usr/lib/comfy-machine/bin/node'
const PROGRAM = '/srv/sandbox-run.mjs'
const PATH = '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin'
const GENERATIONS = `${WORKSPACE}/comfyui/generations`
const CACHE = '/var/cache/comfy-machine'
const as = (user: string, ...argv: readonly string[]): readonly string[] => ['runuser', '-u', user, '--', ...argv]

// The units as they are rendered for this machine, without the rest of it.
describe('the sandbox', () => {
  let host: Host
  let holder = ''

  beforeAll(async () => {
    host = await bootMachine('sandbox')
    await host.write(PROGRAM, await bundleProgram(path.join(import.meta.dirname, 'inside/sandbox-run.ts')))
    await host.must('comfy-machine render --out /run/systemd/system && systemctl daemon-reload')
    await host.must('systemctl start comfy-sandbox.socket')
    await host.must(
      as(
        'comfy-install',
        'sh',
        '-ec',
        `cd ${WORKSPACE}/comfyui; mkdir -p generations/old generations/new ${CACHE}/git/x;
        echo old > generations/old/file; echo TOKEN=node-secret > ${WORKSPACE}/node-env/n.env; chmod 640 ${WORKSPACE}/node-env/n.env
        ln -s generations/old current; ln -s generations/new next`,
      ),
    )
    await host.must(
      'install -d -m 700 /run/comfy-machine/secrets && echo root-secret > /run/comfy-machine/secrets/HF_TOKEN',
    )
    // Another process of the user that has what an installer has: a credential, a secret in its environment and its memory.
    await host.write('/root/token', 'held-secret', '0600')
    const hold = 'HELD=$(cat $CREDENTIALS_DIRECTORY/HF_TOKEN) exec sleep infinity'
    const holding = ['-p', 'User=comfy-install', '-p', 'LoadCredential=HF_TOKEN:/root/token', '/bin/sh', '-c', hold]
    await host.must(['systemd-run', '-q', '--unit=holder', '--expand-environment=no', ...holding])
    await host.waitFor('pgrep -f "[s]leep infinity"')
    holder = (await host.must('systemctl show -P MainPID holder')).trim()
    await host.must('mknod -m 666 /dev/nvidia0 c 195 0 && mknod -m 666 /dev/nvidiactl c 195 255')
  })

  afterAll(async () => {
    await host.stop()
  })

  const runAll = async (wish: Wish): Promise<Answer> =>
    JSON.parse(
      await host.must(as('comfy-install', NODE, '--max-old-space-size=192', PROGRAM, JSON.stringify(wish))),
    ) as Answer
  const run = async (wish: Wish): Promise<Ran> => {
    const [ran] = (await runAll(wish)).results
    if (ran === undefined) throw new Error('nothing ran')
    return ran
  }
  const bash = (script: string, more: Partial<Wish> = {}): Promise<Ran> =>
    run({ argv: ['/bin/bash', '-c', script], env: { PATH }, ...more })
  const python = (script: string, more: Partial<Wish> = {}): Promise<Ran> =>
    run({ argv: ['/usr/bin/python3', '-c', script], env: { PATH }, ...more })
  const running = async (mark: string): Promise<string> => (await host.exec(['pgrep', '-af', mark])).stdout
  const units = async (): Promise<string> =>
    (await host.must('systemctl list-units --all --no-legend --plain "comfy-sandbox@*"')).trim()

  test('runs a program with its arguments, environment and directory, and nothing else', async () => {
    const script = 'echo "$1|$(pwd)"; env | sort; echo problem >&2; exit 3'
    const ran = await run({ argv: ['/bin/sh', '-c', script, 'sh', 'a "b" %n $c'], env: { A: 'x y' }, cwd: '/usr' })
    expect(ran).toMatchObject({ code: 3, signal: null, timedOut: false, stderr: 'problem\n' })
    expect(ran.stdout).toBe('a "b" %n $c|/usr\nA=x y\nPWD=/usr\n')
    expect(await run({ argv: ['/no/such', 'x'] })).toMatchObject({ code: 127 })
    expect(await bash('kill -SEGV $$')).toMatchObject({ code: null, signal: 'SIGSEGV' })
  })

  test('runs as the user of the installers, without any right', async () => {
    const ran = await bash('id -un; id -Gn; grep -E "^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs)" /proc/self/status')
    const zero = '0000000000000000'
    expect(ran.stdout.split(/\s+/)).toEqual([
      ...['comfy-install', 'comfy', 'CapInh:', zero, 'CapPrm:', zero, 'CapEff:', zero, 'CapBnd:', zero, 'CapAmb:'],
      ...[zero, 'NoNewPrivs:', '1', ''],
    ])
    for (const attempt of ['unshare -Ur true', 'mount -t tmpfs x /tmp', 'nice -n -5 true && false', 'su -c true'])
      expect(await bash(attempt), attempt).not.toMatchObject({ code: 0 })
  })

  test('has the network', async () => {
    const ran = await bash(`curl -sS ${fixtureUrls.index}`)
    expect(ran).toMatchObject({ code: 0, stdout: expect.stringContaining('<a href') as string })
  })

  const SECRETS = [
    '/run/credentials/holder.service/HF_TOKEN',
    '/run/comfy-machine/secrets/HF_TOKEN',
    '/etc/comfy-machine/secrets.env',
    `${WORKSPACE}/node-env/n.env`,
    `${WORKSPACE}/comfyui/../node-env/n.env`,
    '/proc/HOLDER/environ',
    '/proc/HOLDER/root/run/credentials/holder.service/HF_TOKEN',
    '/proc/1/environ',
  ]
  test('sees no credential and no secret, though its user could outside', async () => {
    const read = (file: string): string =>
      `cat ${file.replace('HOLDER', holder)} 2>/dev/null | tr '\\0' '\\n' | grep -o '[a-z]*-secret\\|fixture-token'`
    const outside = await Promise.all(SECRETS.map((file) => host.exec(as('comfy-install', 'bash', '-c', read(file)))))
    expect(SECRETS.filter((_, index) => outside[index]?.stdout !== '')).toEqual(
      [0, 3, 4, 5, 6].map((index) => SECRETS[index]),
    )
    for (const file of SECRETS) expect(await bash(read(file)), file).toMatchObject({ stdout: '' })
    const everything = await bash(
      'grep -rsl -e "-secret" -e fixture-token /run /etc /var/lib/comfy-machine /var/cache/comfy-machine; true',
    )
    expect(everything).toMatchObject({ code: 0, stdout: '' })
    expect((await bash('env; cat /proc/self/environ')).stdout).not.toMatch(/CREDENTIALS|TOKEN/)
  })

  test('cannot look into another process of its user', async () => {
    const peek = `open("/proc/${holder}/mem", "rb")`
    const trace = `import ctypes; libc = ctypes.CDLL(None, use_errno=True)
print(libc.ptrace(16, ${holder}, 0, 0), ctypes.get_errno())`
    expect(await host.exec(as('comfy-install', 'python3', '-c', peek))).toMatchObject({ code: 0 })
    expect((await python(peek)).stderr).toContain('FileNotFoundError')
    expect((await python(trace)).stdout.trim()).toBe('-1 1')
    expect(
      (await bash('comfy-machine sandbox; echo > /dev/tcp/0/0; test -e /run/comfy-machine/sandbox.sock')).code,
    ).toBe(1)
  })

  test('sees no GPU', async () => {
    expect(await host.must('ls /dev/nvidia0 /dev/nvidiactl')).toContain('nvidiactl')
    const ran = await bash('ls /dev/nvidia* /dev/dri 2>/dev/null; ls /dev/null')
    expect(ran.stdout).toBe('/dev/null\n')
  })

  test('writes the new generation and the caches, and nothing else', async () => {
    const places = [
      ...[
        `${WORKSPACE}/comfyui/next`,
        `${GENERATIONS}/new`,
        `${CACHE}/uv`,
        `${CACHE}/pip`,
        `${CACHE}/home`,
        '/tmp',
        '/var/tmp',
      ],
      ...[
        '/dev/shm',
        `${GENERATIONS}/old`,
        `${WORKSPACE}/comfyui/current`,
        GENERATIONS,
        `${WORKSPACE}/comfyui`,
        WORKSPACE,
      ],
      ...[
        `${WORKSPACE}/models`,
        `${WORKSPACE}/node-env`,
        `${CACHE}/git`,
        `${CACHE}/git/x`,
        CACHE,
        '/etc',
        '/usr',
        '/run',
        '/',
      ],
      ...['/run/comfy-machine', '/srv', '/opt', '/var/lib', '/boot', '/sys/fs/cgroup', '/home', '/root'],
    ]
    const ran = await bash(`for p in ${places.join(' ')}; do touch $p/try 2>/dev/null && echo $p; done; true`)
    expect(ran.stdout.trim().split('\n')).toEqual(places.slice(0, 8))
    const left = await host.must('ls /tmp/try /var/tmp/try /dev/shm/try 2>/dev/null; true')
    expect(left).toBe('')
    const old = `${GENERATIONS}/old/file`
    expect(await bash(`echo new >> ${old} || sed -i s/old/new/ ${old} || mv ${old} /tmp`)).not.toMatchObject({
      code: 0,
    })
    expect(await bash(`ln ${old} ${GENERATIONS}/new/linked`)).not.toMatchObject({ code: 0 })
    expect(await bash(`ln -sfn generations/old ${WORKSPACE}/comfyui/next`)).not.toMatchObject({ code: 0 })
    expect(await bash(`cd ${GENERATIONS}/new && cp /bin/true t && chmod u+s t`)).not.toMatchObject({ code: 0 })
    expect(await bash('mknod /tmp/n c 195 0')).not.toMatchObject({ code: 0 })
    expect(await host.read(old)).toBe('old\n')
  })

  test('follows next to where it points when a program begins', async () => {
    await host.must(
      `mkdir ${GENERATIONS}/newer && chown comfy-install:comfy ${GENERATIONS}/newer && ln -sfn generations/newer ${WORKSPACE}/comfyui/next`,
    )
    const ran = await bash(`for g in new newer; do touch ${GENERATIONS}/$g/again && echo $g; done`)
    expect(ran.stdout).toBe('newer\n')
    await host.must(`rm ${WORKSPACE}/comfyui/next`)
    expect(await bash(`touch ${GENERATIONS}/newer/third`)).toMatchObject({ code: 1 })
    await host.must(`ln -s generations/new ${WORKSPACE}/comfyui/next`)
  })

  test('lets nothing outlive the program: detached, forked twice, deaf to signals, holding its output', async () => {
    const daemon = `import os, signal, time
for s in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    try: signal.signal(s, signal.SIG_IGN)
    except (OSError, ValueError): pass
for _ in range(2):
    if os.fork(): time.sleep(0.2); os._exit(0)
    os.setsid()
while True:
    open('${GENERATIONS}/new/beat', 'w').write(str(time.time_ns())); time.sleep(0.005)`
    const ran = await python(daemon)
    expect(ran).toMatchObject({ code: 0, signal: null })
    expect(ran.tookMs).toBeLessThan(5_000)
    const beat = await host.read(`${GENERATIONS}/new/beat`)
    expect(Number(beat)).toBeGreaterThan(0)
    expect(await running('[b]eat')).toBe('')
    expect(await host.read(`${GENERATIONS}/new/beat`)).toBe(beat)
    const shell = await bash(
      '(setsid nohup sleep 4711 &>/dev/null &); setsid bash -c "sleep 4712 & sleep 4713" & disown; echo said',
    )
    expect(shell).toMatchObject({ code: 0, stdout: 'said\n' })
    expect(await running('^sleep [4]71')).toBe('')
    expect(await units()).toBe('')
  })

  test('ends a program at its time limit, and what it left behind', async () => {
    const ran = await bash('setsid sleep 4721 & sleep 4722', { timeoutMs: 700 })
    expect(ran).toMatchObject({ code: null, signal: 'SIGTERM', timedOut: true })
    expect(ran.tookMs).toBeLessThan(3_000)
    const deaf = await bash('trap "" TERM; echo begun; while :; do sleep 4723; done', { timeoutMs: 500 })
    expect(deaf).toMatchObject({ signal: 'SIGKILL', timedOut: true, stdout: 'begun\n' })
    expect(await running('^sleep [4]72')).toBe('')
  })

  test('ends a program whose client is killed', async () => {
    const wish = JSON.stringify({ argv: ['/bin/bash', '-c', 'setsid sleep 4731 & sleep 4732'], env: { PATH } })
    await host.must(['systemd-run', '-q', '--unit=client', '-p', 'User=comfy-install', NODE, PROGRAM, wish])
    await host.waitFor('pgrep -f "^sleep [4]731" && pgrep -f "^sleep [4]732"')
    await host.must('systemctl kill -s KILL client')
    await host.waitFor('! pgrep -f "^sleep [4]73"', 3_000)
    await expect.poll(units).toBe('')
  })

  test('ends a program that is aborted', async () => {
    const ran = await bash('trap "" TERM INT HUP; setsid sleep 4741 & sleep 4742; sleep 4743', { abortAfterMs: 500 })
    expect(ran).toMatchObject({ code: null, signal: 'SIGTERM', timedOut: false })
    expect(ran.tookMs).toBeLessThan(3_000)
    expect(await running('^sleep [4]74')).toBe('')
    expect(await bash('sleep 4744', { abortAfterMs: 0 })).toMatchObject({ code: null, signal: 'SIGTERM' })
    expect(await units()).toBe('')
  })

  test('says so when a program kills the process that watches it', async () => {
    const ran = await bash('setsid sleep 4751 & kill -KILL $PPID; sleep 4752')
    expect(ran).toMatchObject({ code: null, signal: 'SIGKILL', timedOut: false })
    expect(await running('^sleep [4]75')).toBe('')
  })

  test('runs twenty at once', async () => {
    const { results } = await runAll({ argv: ['/bin/sh', '-c', 'sleep 0.3; echo $0 $$'], times: 20 })
    expect(results.map(({ code }) => code)).toEqual(Array.from({ length: 20 }, () => 0))
    expect(await units()).toBe('')
    expect((await host.must('systemctl is-active comfy-sandbox.socket')).trim()).toBe('active')
  })

  test('survives bytes that are no text and lines without an end', async () => {
    const ran = await python(
      'import os,sys; os.write(1, bytes(range(256)) * 40); os.write(1, b"\\n" + b"x" * 5_000_000 + b"\\nend\\n")',
    )
    expect(ran).toMatchObject({ code: 0, stdoutLength: 256 * 40 + 1 + 5_000_000 + 5 })
    expect(ran.lines?.slice(-2)).toEqual([65_536, 3])
    const flood = await run({ argv: ['/bin/sh', '-c', 'head -c 300000000 /dev/zero | tr "\\0" y'] })
    expect(flood).toMatchObject({ code: 0, stdoutLength: 16 * 2 ** 20 })
  })

  test('ends with the machine', async () => {
    const wish = JSON.stringify({ argv: ['/bin/bash', '-c', 'setsid sleep 4761 & sleep 4762'], env: { PATH } })
    await host.must(['systemd-run', '-q', '--unit=installer', '-p', 'User=comfy-install', NODE, PROGRAM, wish])
    await host.waitFor('pgrep -f "^sleep [4]761" && pgrep -f "^sleep [4]762"')
    await host.must('systemctl stop comfy-machine.target')
    expect(await running('^sleep [4]76')).toBe('')
    expect(await units()).toBe('')
    await host.must('systemctl start comfy-sandbox.socket')
  })

  test('is never replaced by something else', async () => {
    const ran = await run({ argv: ['/bin/true'], socketPath: '/run/no.sock' })
    expect(ran).toMatchObject({ code: 'CM1711', stdout: '' })
    expect(await host.exec(as('comfy', NODE, PROGRAM, JSON.stringify({ argv: ['/bin/true'] })))).toMatchObject({
      stdout: expect.stringContaining('"CM1711"') as string,
    })
    await host.must('systemctl stop comfy-sandbox.socket')
    expect(await run({ argv: ['/bin/true'] })).toMatchObject({ code: 'CM1711' })
  })
})

import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { productVersion } from '../../packaging/build.ts'
import { parseEnv } from '../../src/config/parse-env.ts'
import { ordinarySecrets, ordinarySettings } from '../fixtures/machine-env.ts'
import { bootFleet, type Fleet, type Variables } from './ansible.ts'
import { makeRepository, repositoryUrl, serveRepository, testDeb } from './apt-repo.ts'
import type { Host } from './host.ts'

const SECRET = 'xK7-secret-of-this-test'

// The two hosts go through the life of a fleet in this order.
describe('the Ansible role and its rollout', () => {
  let fleet: Fleet
  let one: Host
  let two: Host
  let variables: Variables

  const rollout = async (changed: Variables = {}, options: readonly string[] = []) => {
    const { code, stdout, stderr } = await fleet.play('rollout.yml', { ...variables, ...changed }, options)
    const output = stdout + stderr
    expect(output).not.toContain(SECRET)
    return { code, output }
  }
  const withSetting = (name: string, value: unknown): Variables => ({
    comfy_machine_environment: { ...ordinarySettings, [name]: value },
  })

  beforeAll(async () => {
    const repository = await makeRepository([await testDeb()])
    fleet = await bootFleet(['one', 'two'])
    const [first, second] = fleet.hosts
    if (first === undefined || second === undefined) throw new Error('there are no two hosts')
    one = first
    two = second
    await Promise.all([one, two].map((host) => serveRepository(host, repository)))
    variables = {
      comfy_machine_version: await productVersion(),
      comfy_machine_repository_url: repositoryUrl,
      comfy_machine_repository_key: await readFile(path.join(repository, 'comfy-machine.asc'), 'utf8'),
      comfy_machine_environment: ordinarySettings,
      comfy_machine_secrets: { ...ordinarySecrets, CIVITAI_TOKEN: SECRET },
      comfy_machine_ready_timeout: 120,
      comfy_machine_ready_interval: 1,
    }
  })

  afterAll(async () => {
    await fleet?.stop()
  })

  test('is a playbook that ansible reads', async () => {
    expect(await rollout({}, ['--syntax-check'])).toMatchObject({ code: 0 })
  })

  test('says in check mode what it would do to bare hosts, and does nothing', async () => {
    const { code, output } = await rollout({ comfy_machine_serial: '100%' }, ['--check', '--diff'])
    expect(output).toMatch(/comfy-machine \S+ would be installed/)
    expect(code, output).toBe(0)
    expect((await one.exec('ls /etc/comfy-machine /etc/apt/sources.list.d/*')).stdout).toBe('')
  })

  test('installs, configures and brings up one host after the other', async () => {
    const { code, output } = await rollout({}, ['-vvv', '--diff'])
    expect(code, output).toBe(0)
    for (const host of [one, two]) {
      expect(JSON.parse(await host.must('curl -sf http://127.0.0.1:9090/ready'))).toMatchObject({ ready: true })
      expect(await host.must('stat -c "%a %U" /etc/comfy-machine/secrets.env')).toBe('600 root\n')
      expect(await host.read('/etc/comfy-machine/secrets.env')).toContain(`CIVITAI_TOKEN=${SECRET}\n`)
      expect(await host.must('systemctl is-enabled comfy-machine.service')).toBe('enabled\n')
    }
    expect(await time(two, 'InactiveExit')).toBeGreaterThan(await time(one, 'ActiveEnter'))
  }, 300_000)

  test('changes and restarts nothing the second time', async () => {
    const before = await invocations([one, two])
    const { code, output } = await rollout({ comfy_machine_serial: '100%' })
    expect(code, output).toBe(0)
    expect([...output.matchAll(/ changed=(\d+) /g)].map((match) => match[1])).toEqual(['0', '0'])
    expect(await invocations([one, two])).toEqual(before)
  })

  test('in check mode shows changed settings as they would be read, and changes nothing', async () => {
    const before = await invocations([one])
    const odd = 'say "hi" to $HOME, `x` and \\ # all'
    const settings = {
      ...ordinarySettings,
      GREETING: odd,
      COMPONENTS_STALE_OK: true,
      MOCK_GPU_NUM: 3,
      COMFYUI_REF: null,
    }
    const changed = { comfy_machine_environment: settings }
    const { code, output } = await rollout(changed, ['--check', '--diff', '-l', 'one'])
    expect(code, output).toBe(0)
    expect(output).toMatch(/ changed=[1-9]/)
    const added = [...output.matchAll(/^\+([A-Z_]+=.*)$/gm)].map((match) => match[1]).join('\n')
    const { assignments } = parseEnv(added, 'machine.env')
    expect(assignments.map(({ name, value }) => [name, value])).toEqual([
      ['MOCK_GPU_NUM', '3'],
      ['GREETING', odd],
      ['COMPONENTS_STALE_OK', 'true'],
    ])
    expect(output).toMatch(/^-COMFYUI_REF=/m)
    expect(await one.read('/etc/comfy-machine/machine.env')).not.toContain('GREETING')
    expect(await invocations([one])).toEqual(before)
  })

  test('ends at a wrong setting, before it stops the machine and before the second host', async () => {
    const before = await invocations([one, two])
    const { code, output } = await rollout(withSetting('WORKERS', 'comfyuii:1'))
    expect(code, output).not.toBe(0)
    expect(output).toContain('CM0803')
    expect(output).not.toMatch(/^two /m)
    expect(await invocations([one, two])).toEqual(before)
    expect(await two.read('/etc/comfy-machine/machine.env')).not.toContain('comfyuii')
  })

  test('tells what fails of a machine that does not become ready', async () => {
    const changed = { ...withSetting('WORKERS', 'comfyuii:1'), comfy_machine_check: false }
    const { code, output } = await rollout(changed)
    expect(code, output).not.toBe(0)
    expect(output).toMatch(/one is not ready: .*CM0803 .*Hint: /s)
    expect(output).not.toMatch(/^two /m)
    expect((await one.exec('curl -sf http://127.0.0.1:9090/ready')).code).not.toBe(0)
    expect(JSON.parse(await two.must('curl -sf http://127.0.0.1:9090/ready'))).toMatchObject({ ready: true })
  })

  test('holds its version against an upgrade, until a rollout brings another one', async () => {
    expect(await one.must('apt-mark showhold')).toBe('comfy-machine\n')
    await serveRepository(one, await makeRepository([await testDeb({ version: '99.1.0' })]))
    const upgraded = await one.must('apt-get update -q && apt-get upgrade -y -q')
    expect(upgraded).toMatch(/kept back:\s+comfy-machine/)
    expect(await one.must('comfy-machine --version')).toBe(`${await productVersion()}\n`)
    const { code, output } = await rollout({ comfy_machine_version: '99.1.0' }, ['-l', 'one'])
    expect(code, output).toBe(0)
    expect(await one.must('apt-mark showhold')).toBe('comfy-machine\n')
    const status = JSON.parse(await one.must('curl -sf http://127.0.0.1:9090/status'))
    expect(status).toMatchObject({ ready: true, version: '99.1.0', workers_config: 'comfyui:auto' })
  })
})

/** Microseconds of the clock that all hosts share at which comfy-machine.service last made a transition. */
async function time(host: Host, transition: 'InactiveExit' | 'ActiveEnter'): Promise<number> {
  return Number(await host.must(`systemctl show -P ${transition}TimestampMonotonic comfy-machine.service`))
}

async function invocations(hosts: readonly Host[]): Promise<readonly string[]> {
  return await Promise.all(hosts.map((host) => host.must('systemctl show -P InvocationID comfy-machine.service')))
}

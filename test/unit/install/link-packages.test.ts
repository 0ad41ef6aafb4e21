import { describe, expect, it } from 'vitest'
import { MachineError } from '../../../src/errors.ts'
import type { PythonEnvironments } from '../../../src/host/install-ports.ts'
import { linkPackages } from '../../../src/install/link-packages.ts'
import { installPinned } from '../../../src/install/python-commands.ts'
import { memoryContext } from './context.ts'

const HASHED = `torch==2.9.0 \\\n    --hash=sha256:${'a'.repeat(64)}\n`
const NEEDS_BUILD = 'error: Building source distributions is disabled, but attempted to build `x`'

/** What was installed by whom, when linking ends with this message. */
async function install(requirements: string, message?: string): Promise<readonly string[]> {
  const context = memoryContext()
  await context.host.files.writeText('/g/requirements', requirements)
  const ran: string[] = []
  const exec: typeof context.host.exec = {
    async run([program]) {
      ran.push(program)
      return { code: 0, signal: null, timedOut: false, stdout: '', stderr: '' }
    },
  }
  const environments = (name: string, failure?: string) =>
    ({
      create: async () => void ran.push(`${name} creates`),
      async install() {
        ran.push(name)
        if (failure !== undefined) throw new MachineError('CM1403', failure)
      },
    }) as Partial<PythonEnvironments> as PythonEnvironments
  const whole = { ...context, host: { ...context.host, exec } }
  const linked = linkPackages(whole, environments('sandbox'), environments('here', message))
  await linked.install('/g/venv', '/g/requirements').catch((error: unknown) => ran.push(String(error)))
  return ran
}

describe('linkPackages', () => {
  it('links wheels, and makes what is linked read-only', async () => {
    expect(await install(HASHED)).toEqual(['here', 'find'])
  })

  it('leaves everything to the sandbox as soon as something has to be built', async () => {
    expect(await install(HASHED, NEEDS_BUILD)).toEqual(['here', 'sandbox'])
    expect(await install(`${HASHED}x @ git+https://git.example/x@${'b'.repeat(40)}\n`)).toEqual(['sandbox'])
  })

  it('fails as it failed for any other reason', async () => {
    expect(await install(HASHED, 'no such index')).toEqual(['here', 'MachineError: no such index'])
  })
})

describe('installPinned', () => {
  const tools = { python: '/p', uv: '/uv', wheels: '/w', pip: null, torchBackend: null, installer: 'uv' } as const
  it('builds nothing where nothing may be built', () => {
    expect(installPinned({ ...tools, mayBuild: false }, '/v', '/r', HASHED).argv).toContain('--no-build')
    expect(installPinned({ ...tools, mayBuild: true }, '/v', '/r', HASHED).argv).not.toContain('--no-build')
  })
})

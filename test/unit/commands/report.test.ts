import { describe, expect, it } from 'vitest'
import { type ReportPorts, report } from '../../../src/commands/report.ts'
import type { ArchiveEntry } from '../../../src/host/ports.ts'
import { BEGUN_US, buildState } from '../health/build-state.ts'
import { filesOf, keepingTerminal, movingClock } from './ports.ts'

const PASSWORD = 'correct-horse-battery'
const WORKSPACE = '/data/machine'
const TEXTS = {
  '/run/comfy-machine/state.json': JSON.stringify(buildState({ warnings: [`said ${PASSWORD}`] })),
  '/run/comfy-machine/plan.json': JSON.stringify({ schema: 1, paths: { workspace: WORKSPACE } }),
  [`${WORKSPACE}/comfyui/rollout.json`]: '{"proven":["g1"]}',
  [`${WORKSPACE}/comfyui/gpu0/machine.lock.json`]: `{"generation":"g1","url":"https://u:${PASSWORD}@git"}`,
  [`${WORKSPACE}/comfyui/generations/g1/machine.lock.json`]: '{}',
  [`${WORKSPACE}/instances/gpu0/evidence/g1.json`]: '{"isComplete":true}',
  [`${WORKSPACE}/instances/gpu0/output/picture.json`]: '{}',
  '/run/comfy-machine/secrets/HUB_REDIS_URL': `redis://:${PASSWORD}@hub:6379\n`,
  '/run/systemd/system/comfyui@gpu0.service': '[Service]\nExecStart=/bin/true\n',
  '/run/systemd/system/comfy-discover.service.d/10-comfy.conf': '[Service]\nEnvironment="SOME_KEY=two words"\n',
  '/run/systemd/system/ssh.service': '[Service]\n',
  '/etc/comfy-machine/machine.env': 'WORKERS=comfyui:2\nHF_TOKEN=in-the-wrong-file\n',
  '/etc/comfy-machine/secrets.env': 'CIVITAI_TOKEN="civitai value"\n',
}

async function run() {
  const packed: { out: string; entries: readonly ArchiveEntry[] }[] = []
  const ports: ReportPorts = {
    files: filesOf(TEXTS),
    exec: {
      async run(argv) {
        if (argv[0] === 'nvidia-smi')
          return { code: 127, signal: null, timedOut: false, stdout: '', stderr: 'not found' }
        const stdout = `${argv.join(' ')}\n${PASSWORD} civitai value in-the-wrong-file\n`
        return { code: 0, signal: null, timedOut: false, stdout, stderr: '' }
      },
    },
    archive: {
      async pack(out, entries) {
        packed.push({ out, entries })
      },
    },
    clock: movingClock(BEGUN_US),
    terminal: keepingTerminal(),
  }
  const code = await report({ out: '/tmp/bundle.tar.gz' }, ports)
  const entries = packed[0]?.entries ?? []
  return { code, out: packed[0]?.out, byPath: new Map(entries.map(({ path, text }) => [path, text])) }
}

describe('report', () => {
  it('packs state, plan, units, settings and the journal', async () => {
    const { code, out, byPath } = await run()
    expect(code).toBe(0)
    expect(out).toBe('/tmp/bundle.tar.gz')
    for (const path of [
      'state.json',
      'plan.json',
      'units/comfyui@gpu0.service',
      'machine.env',
      'units.txt',
      'README.txt',
    ]) {
      expect(byPath.has(path), path).toBe(true)
    }
    expect(byPath.get('trace.json')).toContain('comfy-machine trace --json')
    expect(byPath.get('journal.txt')).toContain('-n 5000 -u comfy* -u redis-worker*')
    expect(byPath.get('units/comfy-discover.service.d/10-comfy.conf')).toContain('[redacted]')
    expect(byPath.get('versions/nvidia.txt')).toContain('nvidia-smi ended with 127')
  })

  it('packs the lock of each pointer, the rollout and the evidence of each GPU', async () => {
    const { byPath } = await run()
    expect(byPath.get('comfyui/rollout.json')).toContain('proven')
    expect(byPath.get('comfyui/gpu0/machine.lock.json')).toContain('"generation":"g1"')
    expect(byPath.get('evidence/gpu0/g1.json')).toContain('isComplete')
    expect([...byPath.keys()].filter((path) => /picture|generations/.test(path))).toEqual([])
  })

  it('leaves out what is not the machine own and every file of secrets', async () => {
    const { byPath } = await run()
    const paths = [...byPath.keys()]
    expect(
      paths.filter((path) => path.includes('ssh') || path.includes('secret') || path.includes('HUB_REDIS')),
    ).toEqual([])
  })

  it('holds no secret anywhere', async () => {
    const { byPath } = await run()
    for (const [path, text] of byPath) {
      for (const secret of [PASSWORD, 'civitai value', 'in-the-wrong-file', 'two words']) {
        expect(text.includes(secret), `${secret} in ${path}`).toBe(false)
      }
    }
  })
})

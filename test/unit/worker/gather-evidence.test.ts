import { describe, expect, it } from 'vitest'
import type { ComfyUI } from '../../../src/host/ports.ts'
import type { EvidenceDocument } from '../../../src/worker/evidence-document.ts'
import { keepEvidence, readSeen } from '../../../src/worker/evidence-record.ts'
import { errorOfGaps } from '../../../src/worker/gap.ts'
import { gatherEvidence } from '../../../src/worker/gather-evidence.ts'
import { memoryFiles } from '../emit/memory-files.ts'
import { fakeClock, fakeComfyUI } from './fakes.ts'

const NODES = '/w/comfyui/gpu0/custom_nodes'
const LOG = [
  '\nImport times for custom nodes:\n',
  `   0.0 seconds: ${NODES}/fine\n`,
  `   0.0 seconds: ${NODES}/page\n`,
  `   0.0 seconds: ${NODES}/silent\n`,
  `   0.0 seconds (IMPORT FAILED): ${NODES}/broken\n`,
  `   0.0 seconds (IMPORT FAILED): ${NODES}/stranger\n`,
]
const refused: ComfyUI['submit'] = async () => ({ kind: 'refused', status: 400, body: { error: 'no' } })
const node = (name: string, classes: readonly string[] = []) => ({ name, commit: 'c1', requirements: true, classes })

async function gather(
  known: Partial<ComfyUI> = {},
  nodes = [node('fine'), node('page'), node('silent'), node('broken')],
  seen: readonly EvidenceDocument[] = [],
) {
  const comfyui = fakeComfyUI({
    logs: async () => LOG,
    objectInfo: async () => ({ Fine: { python_module: 'custom_nodes.fine' } }),
    extensions: async () => ['/extensions/page/a.js'],
    submit: refused,
    ...known,
  })
  const stop = new AbortController().signal
  const process = { cpuMs: async () => undefined, isAlive: async () => true }
  const ports = { comfyui, clock: fakeClock(), ...process, onWaiting: () => undefined, stop }
  const request = { gpu: 'gpu0', generation: 'g1', traceId: 't', invocationId: 'i', models: '/models' }
  return gatherEvidence(
    { ...ports, files: { stat: async () => undefined }, hash: async () => '' },
    { ...request, expected: { nodes, models: [] }, seen, verified: new Map() },
  )
}

describe('gathering', () => {
  it('names every gap at once, and notes what is none', async () => {
    const { document, gaps, importCheck, importFailed } = await gather()
    expect(gaps.map(({ component, error }) => [component, error.code])).toEqual([
      ['custom node broken', 'CM1902'],
      ['prompt', 'CM1904'],
    ])
    expect([importCheck, importFailed]).toEqual(['complete', ['broken', 'stranger']])
    expect(document.isComplete).toBe(false)
    expect(document.gaps).toMatchObject([{ component: 'custom node broken', code: 'CM1902' }, { code: 'CM1904' }])
    expect(document.nodes).toMatchObject([
      { name: 'fine', imported: true, classes: ['Fine'], web: false },
      { name: 'page', imported: true, classes: [], web: true },
      { name: 'silent', imported: true, classes: [] },
      { name: 'broken', imported: false },
    ])
    expect(document.notes).toEqual([
      'custom node silent offers no class and no script',
      'not imported, and not asked for: stranger',
    ])
  })

  it('remembers a class, on this GPU and on others, also over a start without it', async () => {
    const files = memoryFiles()
    const first = await gather()
    await keepEvidence(files, '/w', { ...first.document, gpu: 'gpu1' })
    const lost: Partial<ComfyUI> = { objectInfo: async () => ({ Other: { python_module: 'nodes' } }) }
    const starts = [
      { gpu: 'gpu0', says: ['CM1903'] },
      { gpu: 'gpu0', says: ['CM1903'] },
    ]
    for (const { gpu, says } of starts) {
      const seen = await readSeen(files, '/w', ['gpu0', 'gpu1'])
      const { document, gaps } = await gather(lost, [node('fine')], seen)
      expect(gaps.map(({ error }) => error.code).filter((code) => code !== 'CM1904')).toEqual(says)
      expect(document.nodes).toMatchObject([{ name: 'fine', classes: [], seen: ['Fine'], missing: ['Fine'] }])
      await keepEvidence(files, '/w', { ...document, gpu })
      files.texts.delete('/w/instances/gpu1/evidence/g1.json')
    }
  })

  it('a class that the source announces is wanted at the first start, and no longer when it does not', async () => {
    const { document, gaps } = await gather({}, [node('fine', ['Fine', 'Absent'])])
    expect(gaps[0]?.error.message).toBe('custom node fine: Absent is not in /object_info')
    expect((await gather({}, [node('fine')], [document])).gaps.map(({ error }) => error.code)).toEqual(['CM1904'])
  })

  it('classes that cannot be read are a gap, and not forgotten', async () => {
    const seen = [(await gather()).document]
    const objectInfo = async (): Promise<unknown> => Promise.reject(new Error('HTTP 500'))
    const { document, gaps } = await gather({ objectInfo }, [node('fine')], seen)
    expect(gaps[0]).toMatchObject({ component: 'node classes', error: { code: 'CM1903' } })
    expect(document.nodes).toMatchObject([{ seen: ['Fine'], missing: [] }])
  })

  it('a ComfyUI that does not show its log is believed by its classes', async () => {
    const { document, importCheck } = await gather({ logs: async () => undefined })
    expect(importCheck).toBe('unavailable')
    expect(document.nodes.map(({ imported }) => imported)).toEqual([true, null, null, null])
    expect(document.notes).toContainEqual(expect.stringContaining('does not show its log'))
  })
})

describe('gaps as one failure', () => {
  it('have the code and hint of the first, and name all', async () => {
    const { gaps } = await gather()
    const error = errorOfGaps(gaps)
    expect(error).toMatchObject({ code: 'CM1902', type: 'import_failed', hint: gaps[0]?.error.hint })
    expect(error?.message).toMatch(/^custom node broken: .*; CM1904 EmptyImage to SaveImage: /)
    expect(errorOfGaps([])).toBeUndefined()
  })
})

describe('kept evidence', () => {
  it('is that of the five latest generations', async () => {
    const files = memoryFiles()
    const { document } = await gather()
    for (let index = 0; index < 8; index += 1) await keepEvidence(files, '/w', { ...document, generation: `g${index}` })
    expect((await files.list('/w/instances/gpu0/evidence')).filter((name) => name.endsWith('.json'))).toHaveLength(5)
    expect(files.texts.has('/w/instances/gpu0/evidence/g7.json')).toBe(true)
  })

  it('that is none is passed over', async () => {
    const at = (name: string): string => `/w/instances/gpu0/evidence/${name}.json`
    const files = memoryFiles({ [at('a')]: 'none', [at('b')]: '{"schema":1,"nodes":[{}]}', [at('c')]: 'null' })
    expect(await readSeen(files, '/w', ['gpu0', 'gpu7'])).toEqual([])
  })
})

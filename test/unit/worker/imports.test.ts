import { describe, expect, it } from 'vitest'
import { describeFailures, findMissing, parseImports, splitByWanted, wantedNodes } from '../../../src/worker/imports.ts'

const NODES = '/var/lib/comfy-machine/comfyui/current/custom_nodes'
const LOG = [
  '\nPrestartup times for custom nodes:\n',
  `   0.1 seconds (PRESTARTUP FAILED): ${NODES}/early\n`,
  `   0.0 seconds: ${NODES}/early-fine\n`,
  'Traceback (most recent call last):\n',
  '  File "nodes.py", line 2130, in load_custom_node\n',
  "ModuleNotFoundError: No module named 'insightface'\n\n",
  `Cannot import ${NODES}/face module for custom nodes: No module named 'insightface'\n`,
  `Skip ${NODES}/empty module for custom nodes due to the lack of NODE_CLASS_MAPPINGS or NODES_LIST (need one).\n`,
  `Error while calling comfy_entrypoint in ${NODES}/v3: boom\n`,
  '\nImport times for custom nodes:\n',
  `   0.0 seconds: ${NODES}/websocket_image_save.py\n`,
  `   0.0 seconds (IMPORT FAILED): ${NODES}/empty\n`,
  `   0.0 seconds (IMPORT FAILED): ${NODES}/v3\n`,
  `   1.3 seconds (IMPORT FAILED): ${NODES}/face\n`,
  `  12.3 seconds: ${NODES}/comfyui-manager\n`,
  '\n',
  'WARNING: some comfy_extras/ nodes did not import correctly.\n',
  'IMPORT FAILED: nodes_audio.py\n',
]

describe('the log of ComfyUI', () => {
  it('tells which custom nodes failed, and why', () => {
    const report = parseImports(LOG)
    expect(report.isComplete).toBe(true)
    expect(report.imported).toEqual(['websocket_image_save', 'comfyui-manager'])
    expect(report.failures.map(({ name, reason }) => [name, reason])).toEqual([
      ['empty', 'the lack of NODE_CLASS_MAPPINGS or NODES_LIST (need one).'],
      ['v3', 'boom'],
      ['face', "No module named 'insightface'"],
    ])
  })

  it('is read across entries that do not end at line ends', () => {
    const whole = LOG.join('')
    const pieces = Array.from({ length: Math.ceil(whole.length / 7) }, (_, i) => whole.slice(i * 7, i * 7 + 7))
    expect(parseImports(pieces)).toEqual(parseImports(LOG))
  })

  it('whose ring has lost the head of the list is not complete, and its failures still count', () => {
    const report = parseImports(LOG.slice(11))
    expect(report.isComplete).toBe(false)
    expect(report.failures.map(({ name }) => name)).toEqual(['empty', 'v3', 'face'])
    expect(report.failures.at(-1)?.reason).toBeUndefined()
    expect(findMissing(report, ['gone'])).toEqual([])
  })
})

describe('wanted nodes', () => {
  it('are separated from others, and those never tried are found', () => {
    const wanted = wantedNodes('{"nodes":[{"name":"face"},{"name":"comfyui-manager"},{"name":"gone"}]}')
    const report = parseImports(LOG)
    const failed = splitByWanted(report.failures, wanted)
    expect(failed.wanted.map(({ name }) => name)).toEqual(['face'])
    expect(failed.others.map(({ name }) => name)).toEqual(['empty', 'v3'])
    expect(findMissing(report, wanted).map(({ name }) => name)).toEqual(['gone'])
    expect(describeFailures(failed.wanted)).toBe("face: No module named 'insightface'")
  })

  it('are none where there are no components', () => {
    expect(wantedNodes(undefined)).toEqual([])
    expect(wantedNodes('{}')).toEqual([])
  })
})

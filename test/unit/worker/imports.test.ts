import { describe, expect, it } from 'vitest'
import { findMissing, importGap, parseImports } from '../../../src/worker/imports.ts'

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
      ['face', "ModuleNotFoundError: No module named 'insightface'"],
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
  it('that ComfyUI never tried are found', () => {
    const report = parseImports(LOG)
    expect(findMissing(report, ['face', 'comfyui-manager', 'gone']).map(({ name }) => name)).toEqual(['gone'])
  })
})

describe('the exception of a node', () => {
  const failure = (reason: string | undefined) => ({ name: 'face', path: `${NODES}/face`, reason })
  const gap = (reason: string | undefined, requirements = true) => importGap(failure(reason), { requirements })

  it('is named with its type, also where another exception was handled before it', () => {
    const log = [
      'Traceback (most recent call last):\n',
      "KeyError: 'a'\n",
      '\nDuring handling of the above exception, another exception occurred:\n\n',
      'Traceback (most recent call last):\n',
      '  File "nodes.py", line 1, in load_custom_node\n',
      'numpy.exceptions.AxisError: axis 3 is out of bounds\n\n',
      `Cannot import ${NODES}/face module for custom nodes: axis 3 is out of bounds\n`,
      'Traceback (most recent call last):\n',
      'AssertionError\n\n',
      `Cannot import ${NODES}/bare module for custom nodes: \n`,
      '\nImport times for custom nodes:\n',
      `   0.1 seconds (IMPORT FAILED): ${NODES}/face\n`,
      `   0.1 seconds (IMPORT FAILED): ${NODES}/bare\n`,
    ]
    expect(parseImports(log).failures.map(({ reason }) => reason)).toEqual([
      'numpy.exceptions.AxisError: axis 3 is out of bounds',
      'AssertionError',
    ])
  })

  it('says what to do about a module that is missing', () => {
    const { component, error } = gap("ModuleNotFoundError: No module named 'skimage.metrics'")
    expect(component).toBe('custom node face')
    expect(error).toMatchObject({
      code: 'CM1902',
      message: "custom node face: ModuleNotFoundError: No module named 'skimage.metrics'",
      hint: 'Add the package that has the Python module skimage to the requirements of face.',
    })
  })

  it('says so of a node whose requirements nobody installs', () => {
    const { error } = gap("ModuleNotFoundError: No module named 'cv2'", false)
    expect(error.hint).toMatch(/cv2.*set requirements of the node/)
  })

  it('tells a version from a system library', () => {
    const name = "ImportError: cannot import name 'cached_download' from 'huggingface_hub' (/x/__init__.py)"
    expect(gap(name).error.hint).toBe(
      'Pin a version of the package that has the Python module huggingface_hub with cached_download in the requirements of face.',
    )
    const library = 'ImportError: libGL.so.1: cannot open shared object file: No such file or directory'
    expect(gap(library).error.hint).toBe('Install the system package that has libGL.so.1.')
  })

  it('that nobody knows any more is said to be unknown', () => {
    const { error } = gap(undefined)
    expect(error.message).toContain('no longer holds the exception')
    expect(error.hint).toMatch(/traceback/)
  })
})

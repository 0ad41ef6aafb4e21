import { describe, expect, it } from 'vitest'
import type { EvidenceDocument } from '../../../src/worker/evidence-document.ts'
import type { ExpectedNode } from '../../../src/worker/expected.ts'
import { classGap, missingClasses, parseOffered, seenClasses } from '../../../src/worker/node-classes.ts'

const INFO = {
  EmptyImage: { python_module: 'nodes' },
  Canny: { python_module: 'comfy_extras.nodes_canny' },
  FaceSwap: { python_module: 'custom_nodes.face' },
  FaceFind: { python_module: 'custom_nodes.face' },
  Dotted: { python_module: 'custom_nodes.node.with.dots' },
  Old: {},
}
const NODE: ExpectedNode = { name: 'face', commit: 'c1', requirements: true, classes: [] }

function seenWith(classes: readonly string[], changes: object = {}): EvidenceDocument {
  const node = {
    name: 'face',
    commit: 'c1',
    imported: true,
    classes,
    seen: classes,
    missing: [],
    web: false,
    ...changes,
  }
  return { nodes: [node] } as unknown as EvidenceDocument
}

describe('what a ComfyUI offers', () => {
  it('is known by class and by custom node', () => {
    const offered = parseOffered(INFO, [
      '/extensions/core/colorPalette.js',
      '/extensions/my%20web/js/a.js',
      '/other.js',
    ])
    expect([...offered.byNode]).toEqual([
      ['face', ['FaceFind', 'FaceSwap']],
      ['node.with.dots', ['Dotted']],
    ])
    expect(offered.all.size).toBe(6)
    expect([...offered.web]).toEqual(['core', 'my web'])
  })

  it('is nothing where the answer is none', () => {
    expect(parseOffered(null).all.size).toBe(0)
    expect(parseOffered({ Odd: null }).byNode.size).toBe(0)
  })
})

describe('the classes that a node is to have', () => {
  it('are those that it was seen with at this commit, though not the last time', () => {
    const documents = [seenWith(['FaceSwap']), seenWith([], { seen: ['FaceFind'], missing: ['FaceFind', 'Announced'] })]
    expect(seenClasses(NODE, documents)).toEqual(['FaceFind', 'FaceSwap'])
  })

  it('are not those of another commit, of another node, or of a commit that nobody knows', () => {
    expect(seenClasses(NODE, [seenWith(['A'], { commit: 'c2' }), seenWith(['B'], { name: 'other' })])).toEqual([])
    expect(seenClasses({ ...NODE, commit: null }, [seenWith(['A'], { commit: null })])).toEqual([])
  })

  it('are there also where another node offers them', () => {
    expect(missingClasses(['FaceSwap', 'EmptyImage', 'Gone'], parseOffered(INFO))).toEqual(['Gone'])
  })

  it('are named when they are missing, with how they are known', () => {
    const seen = classGap(NODE, ['FaceSwap', 'FaceFind'])
    expect(seen.component).toBe('custom node face')
    expect(seen.error).toMatchObject({
      code: 'CM1903',
      message: 'custom node face: FaceSwap, FaceFind are not in /object_info',
    })
    expect(seen.error.hint).toContain('was seen with them at this commit')
    const announced = classGap({ ...NODE, classes: ['FaceSwap'] }, ['FaceSwap'])
    expect(announced.error.hint).toContain('node_classes')
  })
})

import { describe, expect, it } from 'vitest'
import type { OutputFile } from '../../../src/host/ports.ts'
import { collectOutputs, listOutputs } from '../../../src/worker/outputs.ts'

const entry = {
  outputs: {
    '8': { images: [{ filename: 'p.png', subfolder: '', type: 'temp' }] },
    '9': { images: [{ filename: 'a.png', subfolder: 'x', type: 'output' }], animated: [false], text: ['hello'] },
    '12': { gifs: [{ filename: 'v.mp4', subfolder: '', type: 'output', format: 'video/h264-mp4' }] },
  },
}

describe('files of a history entry', () => {
  it('are found under any kind, kept ones first', () => {
    const found = listOutputs(entry).map(({ nodeId, kind, filename }) => `${nodeId} ${kind} ${filename}`)
    expect(found).toEqual(['9 images a.png', '12 gifs v.mp4', '8 images p.png'])
    expect(listOutputs({ outputs: {} })).toEqual([])
    expect(listOutputs(undefined)).toEqual([])
  })

  it('travel inline as long as all together fit', async () => {
    const sizes: Readonly<Record<string, number>> = { 'a.png': 6, 'v.mp4': 5, 'p.png': 4 }
    const asked: [string, number][] = []
    const view = async ({ filename }: OutputFile, maxBytes: number) => {
      asked.push([filename, maxBytes])
      const bytes = sizes[filename] ?? 0
      return { contentType: 'image/png', bytes, ...(bytes <= maxBytes ? { data: new Uint8Array(bytes) } : {}) }
    }
    const outputs = await collectOutputs(view, listOutputs(entry), 10)
    expect(asked).toEqual([
      ['a.png', 10],
      ['v.mp4', 4],
      ['p.png', 4],
    ])
    expect(outputs.map(({ bytes, data_base64 }) => [bytes, data_base64?.length])).toEqual([
      [6, 8],
      [5, undefined],
      [4, 8],
    ])
    expect(outputs[0]).toMatchObject({ node_id: '9', kind: 'images', subfolder: 'x', content_type: 'image/png' })
  })
})

import { describe, expect, test } from 'vitest'
import { openOutbox, parseSpans, trimOutbox } from '../../../src/emit/outbox.ts'
import { startupSpan } from '../../../src/emit/spans.ts'
import type { Files } from '../../../src/host/ports.ts'
import { at, planned, TRACE_ID } from '../observe/build-machine.ts'

const span = startupSpan(planned(), at(9), { traceId: TRACE_ID, resource: {} })
const DIRECTORY = '/t'

/** Files of plain text in a map, as far as an outbox needs them. */
function memoryFiles(texts: Map<string, string>, bytesOf = (text: string): number => text.length): Files {
  const some = {
    readText: async (path: string) => texts.get(path),
    appendText: async (path: string, text: string) => void texts.set(path, (texts.get(path) ?? '') + text),
    stat: async (path: string) => {
      const text = texts.get(path)
      return text === undefined ? undefined : { bytes: bytesOf(text) }
    },
    remove: async (path: string) => void texts.delete(path),
    rename: async (from: string, to: string) => {
      texts.set(to, texts.get(from) ?? '')
      texts.delete(from)
    },
  }
  return some as unknown as Files
}

describe('the outbox', () => {
  test('gives back what was appended', async () => {
    const texts = new Map<string, string>()
    const outbox = openOutbox(memoryFiles(texts), DIRECTORY)
    await outbox.append([span])
    await outbox.append([])
    await outbox.append([span, span])
    expect(parseSpans(texts.get('/t/outbox.ndjson') ?? '')).toEqual([span, span, span])
  })

  test('leaves out a line that was torn, and loses no other', async () => {
    const line = JSON.stringify(span)
    expect(parseSpans(`${line.slice(0, 40)}\n${line}\n`)).toEqual([span])
    const texts = new Map([['/t/outbox.ndjson', line.slice(0, 40)]])
    await openOutbox(memoryFiles(texts), DIRECTORY).append([span])
    expect(parseSpans(texts.get('/t/outbox.ndjson') ?? '')).toEqual([span])
  })

  test('leaves out a last line that is not whole', () => {
    const line = JSON.stringify(span)
    expect(parseSpans(`${line}\n${line.slice(0, 40)}`)).toEqual([span])
    expect(parseSpans(line)).toEqual([])
    expect(parseSpans('')).toEqual([])
  })
})

describe('trimOutbox', () => {
  test('begins anew when all is delivered', async () => {
    const texts = new Map([
      ['/t/outbox.ndjson', 'abc\n'],
      ['/t/cursor', '4'],
    ])
    await trimOutbox(memoryFiles(texts), DIRECTORY)
    expect([...texts]).toEqual([])
  })

  test('keeps what is not delivered', async () => {
    const texts = new Map([
      ['/t/outbox.ndjson', 'abc\ndef\n'],
      ['/t/cursor', '4'],
    ])
    await trimOutbox(memoryFiles(texts), DIRECTORY)
    expect([...texts.keys()]).toEqual(['/t/outbox.ndjson', '/t/cursor'])
  })

  test('sets a record aside that has grown too large', async () => {
    const texts = new Map([['/t/outbox.ndjson', 'abc\n']])
    await trimOutbox(
      memoryFiles(texts, () => 65 * 2 ** 20),
      DIRECTORY,
    )
    expect([...texts]).toEqual([['/t/outbox.ndjson.1', 'abc\n']])
  })
})

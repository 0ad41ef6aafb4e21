import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { gatherOutput, readUtf8 } from '../../../src/host/output.ts'

describe('gatherOutput', () => {
  const gather = (...texts: readonly string[]) => {
    const lines: string[] = []
    const output = gatherOutput((line) => lines.push(line))
    for (const text of texts) output.take(text)
    output.end()
    return { lines, text: output.text() }
  }

  test('gives lines as they come, whatever ends them, and all of the text', () => {
    expect(gather('a\nb', 'c\r\nd\re', '')).toEqual({ lines: ['a', 'bc', 'd', 'e'], text: 'a\nbc\r\nd\re' })
    expect(gather('a\n')).toEqual({ lines: ['a'], text: 'a\n' })
  })

  test('cuts a line that does not end, and goes on with the next one', () => {
    const { lines, text } = gather(...Array.from({ length: 100 }, () => 'x'.repeat(10_000)), '\nnext\n')
    expect(lines.map((line) => line.length)).toEqual([65_536, 4])
    expect(text).toHaveLength(1_000_006)
  })

  test('keeps the end of what is more than it keeps', () => {
    const { text } = gather(
      ...Array.from({ length: 40 }, (_, index) => `${index}`.padEnd(1024 * 1024 - 1, '.').concat('\n')),
    )
    expect(text).toHaveLength(16 * 1024 * 1024)
    expect(text.startsWith('24.')).toBe(true)
  })
})

describe('readUtf8', () => {
  test('puts characters together that come in pieces, and replaces what is no text', async () => {
    const stream = new PassThrough()
    const texts: string[] = []
    readUtf8(stream, (text) => texts.push(text) > 0)
    for (const byte of Buffer.from('ä€')) stream.write(Uint8Array.of(byte))
    stream.end(Uint8Array.of(0xff, 0xe2))
    await new Promise((resolve) => stream.on('end', resolve))
    expect(texts.join('')).toBe('ä€\uFFFD\uFFFD')
  })

  test('stops the stream where its reader has no room', async () => {
    const stream = new PassThrough()
    let count = 0
    readUtf8(stream, () => ++count > 1)
    stream.write('a')
    stream.write('b')
    await new Promise((resolve) => setImmediate(resolve))
    expect(count).toBe(1)
    stream.resume()
    await new Promise((resolve) => setImmediate(resolve))
    expect(count).toBe(2)
  })
})

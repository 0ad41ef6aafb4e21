import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createLineReader, toLine } from '../../../src/host/sandbox-protocol.ts'

test('messages come out as they went in, however they are cut on the way', () => {
  const texts = fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(texts, fc.integer({ min: 1, max: 7 }), (all, size) => {
      const sent = all.map((text) => ({ kind: 'output', stream: 'stdout', text }) as const)
      const wire = sent.map(toLine).join('')
      const read = createLineReader()
      const lines: string[] = []
      for (let at = 0; at < wire.length; at += size) lines.push(...read(wire.slice(at, at + size)))
      expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(sent)
    }),
  )
})

test('a line without an end is refused', () => {
  const read = createLineReader()
  expect(() => {
    for (let count = 0; count < 100; count++) read('x'.repeat(100_000))
  }).toThrow(RangeError)
})

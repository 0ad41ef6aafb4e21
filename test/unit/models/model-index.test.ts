import { expect, test } from 'vitest'
import { openIndex, parseIndex } from '../../../src/models/model-index.ts'
import { memoryContext } from '../install/context.ts'

const file = { bytes: 1, mtimeMs: 2, sha256: 'aa' }

/** An index whose writes are counted; a write ends when it is told to. */
async function open() {
  const context = memoryContext()
  const { writeText } = context.host.files
  const writes: string[] = []
  const failures: Error[] = []
  context.host.files.writeText = async (path, text, options) => {
    writes.push(text)
    expect(options).toEqual({ durable: true })
    const failure = failures.shift()
    if (failure !== undefined) throw failure
    await writeText(path, text, options)
  }
  const names = (): readonly string[] => [...parseIndex(context.texts.get('/w/models.json')).keys()]
  return { context, index: await openIndex(context), writes, failures, names }
}

test('is written at once, then once a second while it changes, and at the end', async () => {
  const { context, index, writes, names } = await open()
  index.record('a', file)
  index.record('b', file)
  await context.pass(0)
  index.record('c', file)
  await context.pass(999)
  expect([writes.length, names()]).toEqual([1, ['a']])
  await context.pass(1)
  expect([writes.length, names()]).toEqual([2, ['a', 'b', 'c']])
  await context.pass(5_000)
  expect(writes.length).toBe(2)
  index.forget('b')
  await context.pass(0)
  index.record('d', file)
  await index.flush()
  expect([writes.length, names()]).toEqual([4, ['a', 'c', 'd']])
})

test('what is recorded after it was written is written when it is asked for', async () => {
  const { index, names } = await open()
  await index.flush()
  index.record('a', file)
  await index.flush()
  expect(names()).toEqual(['a'])
})

test('is not written when nothing changes', async () => {
  const { index, writes } = await open()
  index.forget('a')
  await index.flush()
  expect(writes).toEqual([])
})

test('tells in the end when it could not be written', async () => {
  const { context, index, failures } = await open()
  failures.push(Object.assign(new Error('full'), { code: 'ENOSPC' }))
  index.record('a', file)
  await context.pass(0)
  await expect(index.flush()).rejects.toMatchObject({ code: 'ENOSPC' })
})

test.each([undefined, '', '{', '[]', '{"schema":2,"files":{"a":{}}}', '{"schema":1}'])('%j is an empty one', (text) => {
  expect(parseIndex(text).size).toBe(0)
})

import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { systemFiles } from '../../../src/host/files.ts'
import { systemInventory } from '../../../src/host/inventory.ts'
import { chooseSources, exportSet, type SetSource } from '../../../src/models/set-export.ts'
import { checkImport, importSet, planImport, readSet } from '../../../src/models/set-import.ts'
import { sumFailures } from '../../../src/models/set-ports.ts'
import { addModel, emptyStore, indexOf, portsOf, readAll } from './real-store.ts'
import { fileAt, hashOf } from './stored.ts'

const newTarget = async (): Promise<string> => join(await mkdtemp(join(tmpdir(), 'set-')), 'set')

async function importInto(models: string, directory: string, index = indexOf()) {
  const files = await systemInventory.readTree(models)
  const plan = planImport(await readSet(systemFiles, directory), { files, index: Object.fromEntries(index.files) })
  return { outcome: await importSet(portsOf(), plan, { directory, models, index }), index, plan }
}

async function damage(path: string): Promise<void> {
  await chmod(path, 0o644)
  const text = await readFile(path, 'utf8')
  await writeFile(path, `${text.slice(0, -1)}!`)
}

let models: string
let sources: readonly SetSource[]
let target: string

beforeEach(async () => {
  models = await emptyStore()
  sources = [
    await addModel(models, 'vae/a', 'first content'),
    await addModel(models, 'loras/b', 'second content'),
    await addModel(models, 'loras/same', 'first content'),
  ]
  target = await newTarget()
})

test('what is exported and imported elsewhere is what was there', async () => {
  const name = fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,8}$/)
  const folder = fc.dictionary(
    fc.tuple(name, name).map((parts) => `${parts[0]}/${parts[1]}`),
    fc.string(),
    { maxKeys: 5 },
  )
  await fc.assert(
    fc.asyncProperty(folder, fc.boolean(), async (texts, isShared) => {
      const [from, to, set] = await Promise.all([emptyStore(), emptyStore(), newTarget()])
      const contents = Object.entries(texts).map(([path, text]) => [path, Buffer.from(text).toString('hex')] as const)
      const all = []
      for (const [path, text] of contents) all.push(await addModel(from, path, text))
      expect((await exportSet(portsOf({ isShared }), from, set, all)).failures).toEqual([])
      const { index } = await importInto(to, set)
      expect(await readAll(to)).toEqual(await readAll(from))
      expect([...index.files].map(([path, { sha256 }]) => [path, sha256]).sort()).toEqual(
        all.map(({ path, sha256 }) => [path, sha256]).sort(),
      )
    }),
    { numRuns: 15 },
  )
})

describe('an export', () => {
  test('has each content once and can be read by everybody', async () => {
    const outcome = await exportSet(portsOf({ isShared: false }), models, target, sources)
    expect(outcome).toMatchObject({ written: 2, writtenBytes: 27, kept: 0, failures: [] })
    const [first, second] = sources
    expect(Object.keys(await readAll(target))).toEqual(
      [`blobs/sha256/${first?.sha256}`, `blobs/sha256/${second?.sha256}`, 'index.json'].sort(),
    )
    for (const file of ['index.json', `blobs/sha256/${first?.sha256}`])
      expect((await stat(join(target, file))).mode & 0o777).toBe(0o644)
    for (const folder of ['.', 'blobs', 'blobs/sha256'])
      expect((await stat(join(target, folder))).mode & 0o777).toBe(0o755)
  })

  test('takes no space twice on the volume of the models', async () => {
    await exportSet(portsOf(), models, target, sources)
    const blob = `blobs/sha256/${sources[0]?.sha256}`
    expect((await stat(join(target, blob))).ino).toBe((await stat(join(models, '.store', blob))).ino)
  })

  test('goes on with what is there, and mends what is wrong there', async () => {
    await exportSet(portsOf({ isShared: false }), models, target, sources)
    await damage(join(target, `blobs/sha256/${sources[0]?.sha256}`))
    await rm(join(target, 'index.json'))
    const outcome = await exportSet(portsOf({ isShared: false }), models, target, sources)
    expect(outcome).toMatchObject({ written: 1, kept: 1, failures: [] })
    expect((await readAll(target))[`blobs/sha256/${sources[0]?.sha256}`]).toBe('first content')
  })

  test('adds to an earlier one, and leaves out of it what is gone', async () => {
    await exportSet(portsOf(), models, target, sources.slice(0, 1))
    await exportSet(portsOf(), models, target, sources.slice(1, 2))
    expect((await readSet(systemFiles, target)).models.map(({ path }) => path)).toEqual(['loras/b', 'vae/a'])
    await rm(join(target, `blobs/sha256/${sources[0]?.sha256}`))
    await exportSet(portsOf(), models, target, sources.slice(1, 2))
    expect((await readSet(systemFiles, target)).models.map(({ path }) => path)).toEqual(['loras/b'])
  })

  test.each([true, false])(
    'names what is damaged, writes nothing of it, and goes on (one volume: %s)',
    async (isShared) => {
      await damage(join(models, 'vae/a'))
      const { failures, written } = await exportSet(portsOf({ isShared }), models, target, sources)
      expect(failures).toMatchObject([{ code: 'CM1812' }])
      expect(failures[0]?.message).toMatch(/^model .*: sha256 is [0-9a-f]{64}, expected [0-9a-f]{64}$/)
      expect(written).toBe(1)
      expect(Object.keys(await readAll(target))).toEqual([`blobs/sha256/${sources[1]?.sha256}`, 'index.json'])
      expect((await readSet(systemFiles, target)).models.map(({ path }) => path)).toEqual(['loras/b'])
      expect(() => sumFailures(failures)).toThrow(expect.objectContaining({ code: 'CM1812' }))
    },
  )

  test('is refused before the first byte where there is no room', async () => {
    const ports = portsOf({ isShared: false })
    const freeSpace = async () => ({ bytes: 10, inodes: 100 })
    const full = { ...ports, files: { ...ports.files, freeSpace } }
    await expect(exportSet(full, models, target, sources)).rejects.toMatchObject({ code: 'CM1806' })
    expect(await readAll(target)).toEqual({})
  })

  test('chooses for each path what is in place, else what is in the store', () => {
    const [a, b] = [hashOf('a'), hashOf('b')]
    const row = { name: 'x', bytes: 10, arrived_bytes: null, pinned: false, wanted_by: [], after_start: false }
    const rows = [
      { ...row, path: 'x', sha256: b, state: 'stored' as const },
      { ...row, path: 'x', sha256: a, state: 'in_place' as const },
      { ...row, path: 'y', sha256: b, state: 'stored' as const },
      { ...row, path: 'z', sha256: null, state: 'missing' as const },
      { ...row, path: null, sha256: b, state: 'stored' as const },
    ]
    const { sources: chosen, missing } = chooseSources(rows, [fileAt(`.store/blobs/sha256/${b}`)])
    expect(chosen.map(({ path, sha256, from }) => [path, sha256, from])).toEqual([
      ['x', a, 'x'],
      ['y', b, `.store/blobs/sha256/${b}`],
    ])
    expect(missing.map(({ path }) => path)).toEqual(['z'])
  })
})

describe('an import', () => {
  test('copies nothing that is there', async () => {
    await exportSet(portsOf(), models, target, sources)
    const other = await emptyStore()
    const { index, outcome } = await importInto(other, target)
    expect(outcome).toMatchObject({ written: 2, kept: 0, failures: [] })
    expect((await importInto(other, target, index)).outcome).toMatchObject({ written: 0, kept: 3, failures: [] })
    await rm(join(other, 'vae/a'))
    const again = await importInto(other, target, index)
    expect(again.outcome).toMatchObject({ written: 0, kept: 2 })
    expect((await readAll(other))['vae/a']).toBe('first content')
  })

  test('names a wrong, a short and a missing content, keeps nothing of them, and takes the rest', async () => {
    sources = [...sources, await addModel(models, 'c', 'third'), await addModel(models, 'd', 'fourth')]
    await exportSet(portsOf({ isShared: false }), models, target, sources)
    const [, b, , c, d] = sources.map(({ sha256 }) => join(target, `blobs/sha256/${sha256}`))
    await damage(b ?? '')
    await writeFile(c ?? '', 'thi')
    await rm(d ?? '')
    const other = await emptyStore()
    const { outcome, index } = await importInto(other, target)
    expect(outcome.failures.map(({ code, message }) => [code, message.split(':')[0]])).toEqual(
      expect.arrayContaining([
        ['CM1804', 'model b'],
        ['CM1805', 'model c'],
        ['CM1805', 'model d'],
      ]),
    )
    expect(Object.keys(await readAll(other))).toEqual([
      `.store/blobs/sha256/${sources[0]?.sha256}`,
      'loras/same',
      'vae/a',
    ])
    expect([...index.files.keys()].sort()).toEqual(['loras/same', 'vae/a'])
  })

  test('is refused without a document, and where there is no room', async () => {
    await expect(readSet(systemFiles, models)).rejects.toMatchObject({ code: 'CM1813' })
    await exportSet(portsOf(), models, target, sources)
    const { plan } = await importInto(await emptyStore(), target)
    const full = { ...systemFiles, freeSpace: async () => ({ bytes: 10, inodes: 100 }) }
    await expect(checkImport(full, models, plan)).rejects.toMatchObject({ code: 'CM1806' })
  })
})

import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemFiles } from '../../../src/host/files.ts'
import type { Fetcher } from '../../../src/host/model-ports.ts'
import { systemStore } from '../../../src/host/store-files.ts'
import { systemTrees } from '../../../src/host/tree.ts'
import { bringModels } from '../../../src/models/bring-models.ts'
import { memoryContext } from '../install/context.ts'
import { modelOf } from './memory-store.ts'

const CONTENT = 'content of a model'
let [workspace, mounted] = ['', '']
let fetched: string[] = []

beforeAll(async () => {
  workspace = await mkdtemp(join(tmpdir(), 'models-'))
  mounted = await mkdtemp(join(tmpdir(), 'mounted-'))
})
afterAll(() => Promise.all([workspace, mounted].map((folder) => rm(folder, { recursive: true }))))

const fetcher: Fetcher = {
  async fetch({ name, partial, onBytes }) {
    fetched.push(name)
    await writeFile(partial, CONTENT)
    await writeFile(`${partial}.map`, '')
    onBytes(CONTENT.length)
    const sha256 = createHash('sha256').update(CONTENT).digest('hex')
    return { bytes: CONTENT.length, sha256, resumed: 0, attempts: 1, host: 'models.example' }
  },
  sizeOf: async () => null,
  close: () => undefined,
}

/** One run of the installer over real files: what each model became, and what was downloaded. */
async function bring() {
  fetched = []
  const memory = memoryContext({}, {}, 18)
  const paths = { ...memory.plan.paths, workspace, models: join(workspace, 'models') }
  const context = { ...memory, plan: { ...memory.plan, paths }, host: { ...memory.host, files: systemFiles } }
  const models = ['vae/a', 'linked/b', 'c'].map((path) => modelOf(path, CONTENT))
  const tools = async () => ({ fetcher, store: systemStore, trees: systemTrees })
  const works = await bringModels(context, tools, models, { command: 'me', isPatient: true })
  return { actions: works.map(({ action, error }) => error?.code ?? action), fetched }
}

const pathOf = (name: string): string => join(workspace, 'models', name)
const inodeOf = async (name: string): Promise<number> => (await stat(pathOf(name))).ino

test('one download is one inode under every name, and the next run touches nothing', async () => {
  await mkdir(join(workspace, 'models'))
  await symlink(mounted, pathOf('linked'))
  expect(await bring()).toEqual({ actions: ['download', 'place', 'place'], fetched: ['a'] })
  const [blob = ''] = await readdir(pathOf('.store/blobs/sha256'))
  const inodes = await Promise.all(['vae/a', 'linked/b', 'c', `.store/blobs/sha256/${blob}`].map(inodeOf))
  expect(new Set(inodes).size).toBe(1)
  expect(await readFile(join(mounted, 'b'), 'utf8')).toBe(CONTENT)
  expect([await readdir(pathOf('.store/partial')), await readdir(pathOf('vae'))]).toEqual([[], ['a']])
  const index = await stat(join(workspace, 'models.json'))
  expect(await bring()).toEqual({ actions: ['keep', 'keep', 'keep'], fetched: [] })
  expect((await stat(join(workspace, 'models.json'))).mtimeMs).toBe(index.mtimeMs)
})

test('a name that is gone comes out of the store, a lost index costs no download and no reading', async () => {
  await rm(pathOf('c'))
  expect(await bring()).toEqual({ actions: ['keep', 'keep', 'place'], fetched: [] })
  await rm(join(workspace, 'models.json'))
  expect(await bring()).toEqual({ actions: ['place', 'place', 'place'], fetched: [] })
})

test('what ComfyUI replaced is put right, and the shared content is what it was', async () => {
  await rm(pathOf('vae/a'))
  await writeFile(pathOf('vae/a'), 'something else')
  expect(await bring()).toEqual({ actions: ['place', 'keep', 'keep'], fetched: [] })
  expect(await readFile(pathOf('vae/a'), 'utf8')).toBe(CONTENT)
})

test('what was changed in place is found out under every name, downloaded once and put right', async () => {
  const content = CONTENT.replace('c', 'C')
  await writeFile(pathOf('c'), content)
  expect(await bring()).toEqual({ actions: ['download', 'place', 'place'], fetched: ['a'] })
  for (const name of ['vae/a', 'linked/b', 'c']) expect(await readFile(pathOf(name), 'utf8')).toBe(CONTENT)
})

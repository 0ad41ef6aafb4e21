import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { systemStore } from '../../../src/host/store-files.ts'

const folders: string[] = []
async function scratch(base = tmpdir()): Promise<string> {
  const folder = await mkdtemp(join(base, 'store-'))
  folders.push(folder)
  return folder
}
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true }))))

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const inode = async (path: string): Promise<number> => (await stat(path)).ino

async function written(folder: string, name: string, text: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, text)
  return path
}

/** A store in a folder, with a sealed blob of this text. */
async function sealed(folder: string, text: string): Promise<string> {
  const blob = join(folder, sha256(text))
  await systemStore.seal(await written(folder, 'partial', text), blob)
  return blob
}

describe('seal', () => {
  test('gives a whole file its name, and nobody may write it', async () => {
    const folder = await scratch()
    const blob = await sealed(folder, 'whole')
    expect(await readFile(blob, 'utf8')).toBe('whole')
    expect((await stat(blob)).mode & 0o777).toBe(0o444)
    expect(await readdir(folder)).toEqual([sha256('whole')])
  })

  test('leaves an equal blob that is there, which files may be linked to', async () => {
    const folder = await scratch()
    const before = await inode(await sealed(folder, 'whole'))
    expect(await inode(await sealed(folder, 'whole'))).toBe(before)
    expect(await readdir(folder)).toEqual([sha256('whole')])
  })

  test('takes the place of one that was cut', async () => {
    const folder = await scratch()
    await written(folder, sha256('whole'), 'who')
    expect(await readFile(await sealed(folder, 'whole'), 'utf8')).toBe('whole')
  })
})

describe('place', () => {
  test('is a hard link, over what is there', async () => {
    const folder = await scratch()
    const blob = await sealed(folder, 'new')
    const path = await written(folder, 'model', 'old')
    expect(await systemStore.place(blob, path)).toMatchObject({ placement: 'linked' })
    expect(await inode(path)).toBe(await inode(blob))
    expect((await readdir(folder)).sort()).toEqual([sha256('new'), 'model'].sort())
  })

  test('leaves nothing beside when it is there already', async () => {
    const folder = await scratch()
    const blob = await sealed(folder, 'same')
    const path = join(folder, 'model')
    for (let time = 0; time < 2; time++) await systemStore.place(blob, path)
    expect((await readdir(folder)).length).toBe(2)
  })

  test('takes the place of a link, and leaves what that points at', async () => {
    const folder = await scratch()
    const other = await written(folder, 'other', 'mine')
    await symlink(other, join(folder, 'model'))
    await systemStore.place(await sealed(folder, 'new'), join(folder, 'model'))
    expect(await readFile(other, 'utf8')).toBe('mine')
    expect((await lstat(join(folder, 'model'))).isFile()).toBe(true)
  })

  test('works for the longest name that a file can have', async () => {
    const folder = await scratch()
    expect(await systemStore.place(await sealed(folder, 'x'), join(folder, 'n'.repeat(255)))).toMatchObject({
      placement: 'linked',
    })
  })

  test('leaves nothing where it fails', async () => {
    const folder = await scratch()
    const blob = await sealed(folder, 'x')
    await mkdir(join(folder, 'model'))
    await expect(systemStore.place(blob, join(folder, 'model'))).rejects.toMatchObject({ code: 'EISDIR' })
    expect((await readdir(folder)).sort()).toEqual([sha256('x'), 'model'].sort())
    const missing = join(folder, 'missing', 'model')
    await expect(systemStore.place(blob, missing)).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

const hasOtherDevice = statSync('/dev/shm', { throwIfNoEntry: false })?.dev !== statSync(tmpdir()).dev

describe.skipIf(!hasOtherDevice)('on another file system', () => {
  test('a blob is copied, and the bytes are told', async () => {
    const [folder, other] = [await scratch(), await scratch('/dev/shm')]
    const blob = await sealed(folder, 'content')
    const path = await written(other, 'model', 'old')
    await writeFile(join(other, '.placing-left'), '')
    let bytes = 0
    const { placement } = await systemStore.place(blob, path, (count) => {
      bytes += count
    })
    expect([placement, bytes, await readFile(path, 'utf8')]).toEqual(['copied', 7, 'content'])
    expect((await stat(path)).mode & 0o777).toBe(0o444)
    expect((await readdir(other)).sort()).toEqual(['.placing-left', 'model'])
  })

  test('a file is not adopted', async () => {
    const [folder, other] = [await scratch(), await scratch('/dev/shm')]
    const path = await written(other, 'model', 'x')
    expect(await systemStore.adopt(path, join(folder, sha256('x')))).toBe(false)
    expect(await readdir(folder)).toEqual([])
    expect((await stat(path)).mode & 0o777).toBe(0o644)
  })
})

describe('adopt', () => {
  test('gives a file a name in the store, read-only', async () => {
    const folder = await scratch()
    const path = await written(folder, 'model', 'x')
    const { mtimeMs } = await stat(path)
    expect(await systemStore.adopt(path, join(folder, sha256('x')))).toBe(true)
    expect(await inode(join(folder, sha256('x')))).toBe(await inode(path))
    const after = await stat(path)
    expect([after.mode & 0o777, after.mtimeMs]).toEqual([0o444, mtimeMs])
  })

  test('leaves an equal blob that is there', async () => {
    const folder = await scratch()
    const blob = await sealed(folder, 'x')
    const before = await inode(blob)
    const path = await written(folder, 'model', 'x')
    expect(await systemStore.adopt(path, blob)).toBe(true)
    expect(await inode(blob)).toBe(before)
    expect((await stat(path)).mode & 0o777).toBe(0o644)
  })

  test('does not take a link for a file', async () => {
    const folder = await scratch()
    await symlink(await written(folder, 'elsewhere', 'x'), join(folder, 'model'))
    expect(await systemStore.adopt(join(folder, 'model'), join(folder, sha256('x')))).toBe(false)
    expect((await readdir(folder)).sort()).toEqual(['elsewhere', 'model'])
  })

  test.skipIf(process.getuid?.() !== 0)(
    'leaves no name in the store for a file whose owner may go on to write it',
    async () => {
      const folder = await scratch()
      const path = await written(folder, 'model', 'x')
      await chmod(path, 0o666)
      await chmod(folder, 0o777)
      const program = `
      const { systemStore } = await import(${JSON.stringify(new URL('../../../src/host/store-files.ts', import.meta.url).pathname)})
      process.setgid(65534)
      process.setuid(65534)
      console.log(await systemStore.adopt(${JSON.stringify(path)}, ${JSON.stringify(join(folder, 'blob'))}))`
      const said = execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' })
      expect([said.trim(), await readdir(folder)]).toEqual(['false', ['model']])
    },
  )
})

describe('copy', () => {
  test('hashes what it copies and tells the bytes', async () => {
    const folder = await scratch()
    const text = 'y'.repeat(3 * 2 ** 20 + 17)
    const from = await written(folder, 'from', text)
    const to = await written(folder, 'to', 'left by a copy that was cut')
    const told: number[] = []
    expect(await systemStore.copy(from, to, (count) => void told.push(count))).toBe(sha256(text))
    expect(await readFile(to, 'utf8')).toBe(text)
    expect(told.reduce((sum, count) => sum + count, 0)).toBe(text.length)
  })
})

describe('hash', () => {
  test('is the sha256 of a file, and says how much was read', async () => {
    const folder = await scratch()
    const text = 'z'.repeat(2 * 2 ** 20 + 5)
    const path = await written(folder, 'a', text)
    const told: number[] = []
    expect(await systemStore.hash(path, (count) => void told.push(count))).toBe(sha256(text))
    expect([told.length, told.reduce((sum, count) => sum + count, 0)]).toEqual([3, text.length])
    const empty = await written(folder, 'b', '')
    expect(await Promise.all([systemStore.hash(path), systemStore.hash(empty)])).toEqual([sha256(text), sha256('')])
  })

  test('of a file that is not there fails with its errno', async () => {
    await expect(systemStore.hash(join(await scratch(), 'missing'))).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

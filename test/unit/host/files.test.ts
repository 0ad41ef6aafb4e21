import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { systemFiles } from '../../../src/host/files.ts'

const scratch = (): Promise<string> => mkdtemp(join(tmpdir(), 'files-'))

test('appending does not follow a link that somebody else put there', async () => {
  const folder = await scratch()
  await writeFile(join(folder, 'target'), 'kept')
  await symlink('target', join(folder, 'outbox'))
  await expect(systemFiles.appendText(join(folder, 'outbox'), 'led astray')).rejects.toMatchObject({ code: 'ELOOP' })
  expect(await readFile(join(folder, 'target'), 'utf8')).toBe('kept')
})

test('what a unit left is read only when it is a file', async () => {
  const folder = await scratch()
  await writeFile(join(folder, 'report'), 'said')
  await symlink('report', join(folder, 'link'))
  execFileSync('mkfifo', [join(folder, 'fifo')])
  expect(await systemFiles.readForeign(join(folder, 'report'))).toBe('said')
  expect(await systemFiles.readForeign(join(folder, 'missing'))).toBeUndefined()
  await expect(systemFiles.readForeign(join(folder, 'link'))).rejects.toMatchObject({ code: 'ELOOP' })
  await expect(systemFiles.readForeign(join(folder, 'fifo'))).rejects.toThrow('is no file')
})

test('making a directory that is a link does not change the mode of what it points at', async () => {
  const folder = await scratch()
  await systemFiles.makeDirectory(join(folder, 'target'), 0o700)
  await symlink('target', join(folder, 'instances'))
  await systemFiles.makeDirectory(join(folder, 'instances'), 0o755)
  expect((await stat(join(folder, 'target'))).mode & 0o777).toBe(0o700)
})

import { link, mkdir, mkdtemp, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { systemInventory } from '../../../src/host/inventory.ts'

test('a tree is told file by file: names of one inode, holes, and what links lead to only where it is asked for', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'inventory-'))
  await mkdir(join(folder, 'vae/deep'), { recursive: true })
  await mkdir(join(folder, 'elsewhere'))
  await writeFile(join(folder, 'vae/deep/a'), '0123456789')
  await link(join(folder, 'vae/deep/a'), join(folder, 'b'))
  await writeFile(join(folder, 'holes'), '')
  await truncate(join(folder, 'holes'), 1e9)
  await writeFile(join(folder, 'elsewhere/c'), '1')
  await symlink('b', join(folder, 'link'))
  await symlink('elsewhere', join(folder, 'loras'))
  const files = await systemInventory.readTree(folder, ['b', 'loras/c', 'loras/none', 'b/none'])
  expect(files.map(({ path, bytes, links }) => [path, bytes, links])).toEqual([
    ['b', 10, 2],
    ['elsewhere/c', 1, 1],
    ['holes', 1e9, 1],
    ['loras/c', 1, 1],
    ['vae/deep/a', 10, 2],
  ])
  const inodes = new Map(files.map(({ path, inode }) => [path, inode]))
  expect(inodes.get('b')).toBe(inodes.get('vae/deep/a'))
  expect(inodes.get('loras/c')).toBe(inodes.get('elsewhere/c'))
  expect(files.find(({ path }) => path === 'holes')?.diskBytes).toBe(0)
  expect(await systemInventory.volumeOf(folder)).toBe(await systemInventory.volumeOf(join(folder, 'vae')))
})

test('a folder that is not there has no files', async () => {
  expect(await systemInventory.readTree('/nowhere/at/all')).toEqual([])
})

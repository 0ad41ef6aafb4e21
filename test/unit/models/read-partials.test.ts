import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { systemFiles } from '../../../src/host/files.ts'
import { systemInventory } from '../../../src/host/inventory.ts'
import { renderPartMap, renderRange } from '../../../src/models/part-map.ts'
import { readPartials } from '../../../src/models/read-partials.ts'
import { hashOf } from './stored.ts'

test('how far a download is stands in its map; what is no map says nothing', async () => {
  const models = await mkdtemp(join(tmpdir(), 'partials-'))
  const partial = join(models, '.store/partial')
  await mkdir(partial, { recursive: true })
  const identity = { source: 's', sha256: hashOf('a'), etag: null, lastModified: null, total: 100 }
  const map = renderPartMap(identity, 'boot', [{ from: 0, to: 10 }]) + renderRange({ from: 50, to: 60 })
  await writeFile(join(partial, `${hashOf('a')}.map`), map)
  await writeFile(join(partial, hashOf('a')), '')
  await writeFile(join(partial, `${hashOf('b')}.map`), 'nothing')
  const files = await systemInventory.readTree(models)
  const read = async (boot: string) => [...(await readPartials(systemFiles, models, files, boot))]
  expect(await read('boot')).toEqual([[hashOf('a'), { arrived: 20, total: 100 }]])
  expect(await read('another')).toEqual([[hashOf('a'), { arrived: 10, total: 100 }]])
})

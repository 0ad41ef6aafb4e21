import { chmod, open, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { digest } from '../../../src/host/digest.ts'
import { systemFiles } from '../../../src/host/files.ts'
import { systemInventory } from '../../../src/host/inventory.ts'
import { collectModels } from '../../../src/models/collect-models.ts'
import { planGc } from '../../../src/models/gc-plan.ts'
import { modelsToRepair, putAside } from '../../../src/models/put-aside.ts'
import { type Claim, reachOf } from '../../../src/models/reach.ts'
import type { SetSource } from '../../../src/models/set-export.ts'
import { verifyFiles } from '../../../src/models/verify-models.ts'
import { planVerify } from '../../../src/models/verify-plan.ts'
import { addModel, emptyStore, indexOf, portsOf, readAll, silentMeter, verifiedAs } from './real-store.ts'
import { claimOf } from './stored.ts'

let models: string
let a: SetSource
let b: SetSource
let index: ReturnType<typeof indexOf>

beforeEach(async () => {
  models = await emptyStore()
  a = await addModel(models, 'vae/a', 'first content')
  b = await addModel(models, 'loras/b', 'second content')
  index = indexOf(new Map([await verifiedAs(models, a), await verifiedAs(models, b)]))
})

const facts = async () => ({ files: await systemInventory.readTree(models), index: Object.fromEntries(index.files) })

async function verify(signal = new AbortController().signal) {
  return verifyFiles({ ...portsOf(), signal }, models, planVerify(await facts(), undefined), [])
}

async function flipByte(path: string): Promise<void> {
  await chmod(path, 0o644)
  const handle = await open(path, 'r+')
  await handle.write('X', 3)
  await handle.close()
}

describe('verifyFiles', () => {
  test('finds nothing in a store that is as it was', async () => {
    expect(await verify()).toEqual([])
  })

  test('finds one flipped byte', async () => {
    await flipByte(join(models, 'vae/a'))
    expect(await verify()).toMatchObject([
      { paths: [a.from, 'vae/a'], expected: a.sha256, found: digest('firXt content') },
    ])
  })

  test('tells what cannot be read, and passes over what is gone', async () => {
    const checks = planVerify(await facts(), undefined)
    await rm(join(models, a.from))
    const ports = portsOf()
    const hash = async (path: string): Promise<string> => {
      if (path.endsWith(b.sha256)) throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' })
      return ports.store.hash(path)
    }
    const found = await verifyFiles({ ...ports, meter: silentMeter, store: { hash } }, models, checks, [])
    expect(found).toMatchObject([{ expected: b.sha256, found: null, reason: 'EIO: i/o error, read' }])
  })

  test('ends when it is stopped', async () => {
    await expect(verify(AbortSignal.abort(new Error('stopped')))).rejects.toThrow('stopped')
  })
})

describe('putAside', () => {
  const repair = async (claims: readonly Claim[]) => {
    await flipByte(join(models, 'vae/a'))
    const damages = await verify()
    for (const damage of damages) await putAside({ files: systemFiles, index, digest }, models, damage, claims)
    return modelsToRepair(damages, claims)
  }

  test('leaves what is wanted in its place to be read again, and holds its source to the hash', async () => {
    const claim = claimOf('vae/a')
    expect(await repair([claim, claimOf('loras/b')])).toEqual([claim.model])
    expect(Object.keys(await readAll(models))).toEqual(
      [b.from, `.store/damaged/${a.sha256}`, 'loras/b', 'vae/a'].sort(),
    )
    const source = digest(claim.model.url ?? '')
    expect(index.files.get('vae/a')).toMatchObject({ sha256: a.sha256, mtimeMs: 0, source, brought: true })
    expect(index.files.get('loras/b')?.mtimeMs).toBeGreaterThan(0)
  })

  test('brings no other content in its place', async () => {
    const [same, other] = [claimOf('vae/a', { by: 'update' }), claimOf('vae/a', { sha256: b.sha256 })]
    expect(await repair([other, same])).toEqual([same.model])
  })

  test('forgets what the machine does not want', async () => {
    expect(await repair([claimOf('vae/a', { by: '0123456789abcdef', sha256: a.sha256 })])).toEqual([])
    expect(index.files.has('vae/a')).toBe(false)
  })
})

describe('collectModels', () => {
  const collect = async (claims: readonly Claim[]): Promise<number> => {
    const plan = planGc(await facts(), reachOf(claims, Object.fromEntries(index.files), digest))
    await collectModels({ files: systemFiles, hold: { touch: () => undefined } }, models, plan, index)
    return plan.freedBytes
  }

  test('removes what nobody wants, frees what it says, and whoever has it open goes on reading', async () => {
    const handle = await open(join(models, 'vae/a'))
    expect(await collect([claimOf('loras/b')])).toBe(a.bytes)
    expect(await readAll(models)).toEqual({ [b.from]: 'second content', 'loras/b': 'second content' })
    expect([...index.files.keys()]).toEqual(['loras/b'])
    expect((await handle.stat()).nlink).toBe(0)
    expect(await handle.readFile('utf8')).toBe('first content')
    await handle.close()
    expect(await collect([claimOf('loras/b')])).toBe(0)
  })

  test('leaves what people put there', async () => {
    await writeFile(join(models, 'vae/own'), 'mine')
    await collect([])
    expect(await readAll(models)).toEqual({ 'vae/own': 'mine' })
    expect(await readFile(join(models, 'vae/own'), 'utf8')).toBe('mine')
    expect((await stat(join(models, 'vae/own'))).nlink).toBe(1)
  })
})

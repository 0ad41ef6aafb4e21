import { describe, expect, it } from 'vitest'
import type { FileStat } from '../../../src/host/ports.ts'
import type { WantedModel } from '../../../src/install/components.ts'
import { findDisplaced, parseModelIndex } from '../../../src/worker/model-places.ts'

const RIGHT = 'a'.repeat(64)
const WRONG = 'b'.repeat(64)
const FILE: FileStat = { kind: 'file', bytes: 10, mode: 0o644, uid: 0, mtimeMs: 5.25 }
const MODEL: WantedModel = {
  name: 'ae',
  url: null,
  path: 'vae/ae.safetensors',
  bytes: null,
  estimatedBytes: 0,
  sha256: RIGHT,
  authEnvVar: null,
  sources: [],
}

interface Case {
  readonly model?: Partial<WantedModel>
  readonly file?: Partial<FileStat> | null
  readonly known?: { readonly bytes: number; readonly mtimeMs: number; readonly sha256: string | null }
  readonly hash?: string | Error
}

async function look({ model, file = {}, known, hash = RIGHT }: Case) {
  const hashed: string[] = []
  const ports = {
    files: { stat: async () => (file === null ? undefined : { ...FILE, ...file }) },
    hash: async (path: string) => {
      hashed.push(path)
      if (hash instanceof Error) throw hash
      return hash
    },
  }
  const files = known === undefined ? {} : { 'vae/ae.safetensors': known }
  const verified = parseModelIndex(JSON.stringify({ schema: 1, files }))
  const gaps = await findDisplaced(ports, '/models', [{ ...MODEL, ...model }], verified)
  return { hashed, says: gaps.map(({ component, error }) => [component, error.code, error.message]) }
}

const VERIFIED = { bytes: 10, mtimeMs: 5.25, sha256: RIGHT }
const displaced = (message: string) => [['model ae', 'CM1905', `model ae: /models/vae/ae.safetensors ${message}`]]

describe('a wanted model', () => {
  it('is in place without a byte read while it is as it was verified', async () => {
    expect(await look({ known: VERIFIED })).toEqual({ says: [], hashed: [] })
  })

  it('that is gone, or a directory, or of another size, is not', async () => {
    expect((await look({ file: null, known: VERIFIED })).says).toEqual(displaced('is not there'))
    expect((await look({ file: { kind: 'directory' }, known: VERIFIED })).says).toEqual(displaced('is no file'))
    expect((await look({ file: { bytes: 9 }, known: VERIFIED })).says).toEqual(displaced('has 9 bytes, expected 10'))
    expect((await look({ model: { bytes: 11 }, known: VERIFIED })).says).toEqual(displaced('has 10 bytes, expected 11'))
  })

  it('whose time of change is another one is read again', async () => {
    const known = { ...VERIFIED, mtimeMs: 4 }
    expect(await look({ known })).toEqual({ says: [], hashed: ['/models/vae/ae.safetensors'] })
    expect((await look({ known, hash: WRONG })).says).toEqual(displaced(`has the sha256 ${WRONG}, expected ${RIGHT}`))
  })

  it('that is not recorded, or with another hash, is read', async () => {
    expect((await look({ hash: WRONG })).says).toHaveLength(1)
    expect((await look({ known: { ...VERIFIED, sha256: WRONG }, hash: WRONG })).says).toHaveLength(1)
    expect((await look({ known: { ...VERIFIED, sha256: null } })).hashed).toHaveLength(1)
  })

  it('that cannot be read is not', async () => {
    expect((await look({ hash: new Error('EACCES') })).says).toEqual(displaced('cannot be read: EACCES'))
  })

  it('without a hash is in place when its size is; one without a path has none', async () => {
    expect(await look({ model: { sha256: null }, known: { ...VERIFIED, mtimeMs: 4 } })).toEqual({
      says: [],
      hashed: [],
    })
    expect(await look({ model: { path: null }, file: null })).toEqual({ says: [], hashed: [] })
  })

  it('that is loaded after the start is not missed, nor read when it is there', async () => {
    expect(await look({ model: { when: 'after_start' }, file: null })).toEqual({ says: [], hashed: [] })
    expect(await look({ model: { when: 'after_start' }, hash: WRONG })).toEqual({ says: [], hashed: [] })
  })
})

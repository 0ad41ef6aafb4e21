import { describe, expect, it } from 'vitest'
import type { RequirementsFile, Resolution } from '../../../src/host/install-ports.ts'
import {
  type ConflictTools,
  explainConflict,
  type FailedResolution,
} from '../../../src/install/requirement-conflict.ts'

/** Packages of the index and what they want. */
const WANTS: Readonly<Record<string, readonly string[]>> = {
  scipy: ['numpy<1.27'],
  modern: ['numpy>=2'],
  numpy: [],
  other: [],
}

interface Asked {
  readonly tools: ConflictTools
  readonly files: readonly RequirementsFile[]
  readonly resolved: string[][]
  readonly resolve: () => Promise<Resolution>
}

/** An index in which numpy alone can be contested, and a resolver that says so as uv does. */
function ask(texts: Readonly<Record<string, string>>, talk = true, limit?: number): Asked {
  const resolved: string[][] = []
  const pathOf = (owner: string): string => `/n/${owner}/requirements.txt`
  const read = (path: string): string => texts[path.split('/')[2] ?? ''] ?? ''
  const resolve = async (files: readonly RequirementsFile[]): Promise<Resolution> => {
    resolved.push(files.map(({ owner }) => owner))
    const lines = files.flatMap(({ path }) => read(path).split('\n')).filter((line) => line !== '')
    const gone = lines.find((line) => !Object.hasOwn(WANTS, line.replace(/[<>=].*/, '')))
    const failed = (detail: string): Resolution => ({
      ok: false,
      reason: 'conflict',
      detail: talk ? detail : 'no words',
    })
    if (gone !== undefined)
      return failed(`Because ${gone} was not found in the package registry and you require ${gone}`)
    const edges = lines.flatMap((line) => (WANTS[line] ?? []).map((to) => `${line} depends on ${to}`))
    const all = [...lines, ...lines.flatMap((line) => WANTS[line] ?? [])]
    if (!all.some((line) => /numpy<(1|2)/.test(line)) || !all.includes('numpy>=2'))
      return { ok: true, requirements: '', packages: 0 }
    const required = lines.filter((line) => line !== 'other').map((line) => `you require ${line}`)
    return failed(
      `Because ${[...edges, ...required].join(' and ')}, we can conclude that your requirements are unsatisfiable.`,
    )
  }
  const files = Object.keys(texts).map((owner) => ({ owner, path: pathOf(owner) }))
  const stat = { kind: 'file', bytes: 1, mode: 0o644, uid: 0, mtimeMs: 0 } as const
  const reader: ConflictTools['files'] = {
    lstat: async () => stat,
    readLink: async () => undefined,
    readBytes: async (path) => new TextEncoder().encode(read(path)),
  }
  const python: ConflictTools['python'] = { installer: 'uv', resolve }
  const tools = { python, files: reader, onTry: () => undefined, ...(limit === undefined ? {} : { limit }) }
  return { tools, files, resolved, resolve: () => resolve(files) }
}

async function explain(asked: Asked) {
  const failed = await asked.resolve()
  asked.resolved.length = 0
  const { error, owners } = await explainConflict(asked.tools, asked.files, failed as FailedResolution)
  return { code: error.code, message: error.message, owners }
}

const others = Object.fromEntries(Array.from({ length: 58 }, (_, index) => [`o${index}`, 'other\n']))

describe('explainConflict', () => {
  it('names the two owners and the two lines', async () => {
    const asked = ask({ ComfyUI: 'other\n', a: 'other\n\nnumpy<2\n', b: 'numpy>=2\n' })
    expect(await explain(asked)).toEqual({
      code: 'CM1706',
      message: 'a wants numpy<2 (requirements.txt:3); b wants numpy>=2 (requirements.txt:1)',
      owners: ['a', 'b'],
    })
    expect(asked.resolved).toEqual([['a', 'b'], ['a'], ['b']])
  })

  it('names what is between a requirement and the contradiction', async () => {
    expect((await explain(ask({ ComfyUI: 'numpy>=2\n', b: 'scipy\n' }))).message).toBe(
      'ComfyUI wants numpy>=2 (requirements.txt:1); b wants scipy (requirements.txt:1), which wants numpy<1.27',
    )
    expect((await explain(ask({ a: 'modern\n', b: 'scipy\n' }))).message).toBe(
      'a wants modern (requirements.txt:1), which wants numpy>=2; b wants scipy (requirements.txt:1), which wants numpy<1.27',
    )
  })

  it('one file can contradict itself', async () => {
    const { message, owners } = await explain(ask({ ComfyUI: 'other\n', a: 'modern\nscipy\n' }))
    expect(owners).toEqual(['a'])
    expect(message).toMatch(/^a wants modern \(requirements.txt:1\).*; a wants scipy \(requirements.txt:2\)/)
  })

  it('finds two among sixty without a word of the resolver, in a bounded number of tries', async () => {
    const asked = ask({ a: 'scipy\n', ...others, b: 'numpy>=2\n' }, false)
    const { code, owners, message } = await explain(asked)
    expect([code, owners]).toEqual(['CM1706', ['a', 'b']])
    expect(message).toBe('a, b: no words')
    expect(asked.resolved.length).toBeLessThanOrEqual(20)
  })

  it('gives up at its limit and names those that it knows of', async () => {
    const asked = ask({ a: 'scipy\n', ...others, b: 'numpy>=2\n' }, false, 3)
    expect((await explain(asked)).owners).toHaveLength(60)
    expect(asked.resolved).toHaveLength(3)
  })

  it('names who wants what does not exist', async () => {
    expect(await explain(ask({ ComfyUI: 'other\n', a: 'other\nno-such==9\n' }))).toEqual({
      code: 'CM1703',
      message: 'a wants no-such==9 (requirements.txt:2), which no package index has',
      owners: ['a'],
    })
  })

  it.each<[string, FailedResolution, string, string, readonly string[]]>([
    [
      'the network',
      { ok: false, reason: 'failed', detail: 'Failed to fetch: https://i.test/numpy dns error' },
      'CM1403',
      'dns_failure',
      [],
    ],
    [
      'a build',
      { ok: false, reason: 'failed', detail: 'Failed to build `scipy==1` cause: setup.py' },
      'CM1703',
      'pip_failed',
      ['a'],
    ],
    [
      'a file',
      { ok: false, reason: 'invalid', detail: "Couldn't parse requirement in `/n/b/requirements.txt` at position 0" },
      'CM1707',
      'pip_failed',
      ['b'],
    ],
  ])('%s at fault', async (_what, failed, code, type, owners) => {
    const { tools, files } = ask({ ComfyUI: 'other\n', a: 'scipy\n', b: 'numpy\n' })
    const fault = await explainConflict(tools, files, failed)
    expect([fault.error.code, fault.error.type, fault.owners]).toEqual([code, type, owners])
    expect(fault.error.message).not.toContain('/n/')
  })
})

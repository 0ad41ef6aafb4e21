import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'

const source = path.resolve(import.meta.dirname, '../../src')

interface Import {
  /** The importing file, below src. */
  readonly from: string
  /** A package, or a file below src. */
  readonly to: string
  /** Only types are taken: nothing of it is left when the program runs. */
  readonly isType: boolean
}

const files = readdirSync(source, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => ({ file, text: readFileSync(path.join(source, file), 'utf8') }))

const STATEMENT =
  /^(?:import|export)\s+(type\s)?([^'";]*?)\s*from\s*'([^']+)'|^import\s*'([^']+)'|\bimport\('([^']+)'\)/gm

function importsOf({ file, text }: { readonly file: string; readonly text: string }): readonly Import[] {
  return [...text.matchAll(STATEMENT)].map(([, type, names = '', named, bare, dynamic]) => {
    const target = named ?? bare ?? dynamic ?? ''
    const members = /^\{([\s\S]*)\}$/
      .exec(names)?.[1]
      ?.split(',')
      .filter((each) => each.trim() !== '')
    const isType = type !== undefined || (members?.every((each) => each.trim().startsWith('type ')) ?? false)
    const to = target.startsWith('.') ? path.join(path.dirname(file), target) : target
    return { from: file, to, isType }
  })
}

const imports = files.flatMap(importsOf)
const roomOf = (file: string): string => (file.includes('/') ? (file.split('/')[0] ?? '') : '')
const shown = ({ from, to }: Import): string => `${from} → ${to}`
const isOurs = (target: string): boolean => target.endsWith('.ts')

const EFFECTS =
  /^(dbus-next|ioredis|bullmq|ws|node-fetch|tar|systeminformation|@opentelemetry\/.*|node:(?!path$|assert$).*)$/
const LINE = ['config', 'detect', 'plan', 'render', 'apply', 'observe', 'emit']
/** What every stage speaks: the steps, the codes, the report, the ids of a trace and the ports. */
const COMMON = ['steps.ts', 'errors.ts', 'report.ts', 'trace-context.ts', 'host/ports.ts']

test('the imports are read', () => {
  expect(imports).toContainEqual({ from: 'startup.ts', to: 'apply/actions.ts', isType: false })
  expect(imports).toContainEqual({ from: 'startup.ts', to: 'host/ports.ts', isType: true })
  expect(imports).toContainEqual({ from: 'main.ts', to: 'cli.ts', isType: false })
  expect(files.length).toBeGreaterThan(100)
})

describe('one folder has hands', () => {
  test('only src/host imports what touches the outside', () => {
    const outside = imports.filter(({ from, to }) => EFFECTS.test(to) && roomOf(from) !== 'host')
    expect(outside.map(shown)).toEqual([])
  })

  test('D-Bus is confined to one file', () => {
    expect(imports.filter(({ to }) => to === 'dbus-next').map(({ from }) => from)).toEqual(['host/bus.ts'])
  })

  test('only the command line builds the real host', () => {
    const builds = imports.filter(
      ({ from, to, isType }) => !isType && roomOf(to) === 'host' && to !== 'host/ports.ts' && roomOf(from) !== 'host',
    )
    const isCommandLine = ({ from }: Import): boolean =>
      ['main.ts', 'cli.ts', 'unit-cli.ts'].includes(from) || roomOf(from) === 'commands'
    expect(builds.filter((each) => !isCommandLine(each)).map(shown)).toEqual([])
  })

  test('the environment of the process is read by host and commands only', () => {
    const readers = files.filter(({ text }) => /\bprocess\.env\b/.test(text)).map(({ file }) => roomOf(file))
    expect(readers.filter((room) => room !== 'host' && room !== 'commands')).toEqual([])
  })
})

describe('data flows one way', () => {
  test.each(LINE)('%s takes values of earlier stages only', (room) => {
    const later = imports.filter(({ from, to, isType }) => {
      if (isType || roomOf(from) !== room || !isOurs(to) || COMMON.includes(to)) return false
      const position = LINE.indexOf(roomOf(to))
      return position < 0 || position > LINE.indexOf(room)
    })
    expect(later.map(shown)).toEqual([])
  })

  test('no room takes values of a command, of the start or of the rooms beside the line', () => {
    const allowed: Readonly<Record<string, readonly string[]>> = {
      install: [...LINE, 'install'],
      models: [...LINE, 'install', 'models'],
      worker: [...LINE, 'worker'],
      health: [...LINE, 'health', 'install', 'worker'],
      rollout: [...LINE, 'rollout'],
    }
    const wrong = imports.filter(({ from, to, isType }) => {
      const rooms = allowed[roomOf(from)]
      return rooms !== undefined && !isType && isOurs(to) && !COMMON.includes(to) && !rooms.includes(roomOf(to))
    })
    expect(wrong.map(shown)).toEqual([])
  })

  test('no file imports itself by a detour', () => {
    const next = new Map(files.map(({ file }) => [file, imports.filter((each) => each.from === file && !each.isType)]))
    const reaches = (from: string, wanted: string, seen: Set<string>): boolean =>
      (next.get(from) ?? []).some(({ to }) => {
        if (to === wanted) return true
        if (seen.has(to)) return false
        seen.add(to)
        return reaches(to, wanted, seen)
      })
    expect(files.map(({ file }) => file).filter((file) => reaches(file, file, new Set()))).toEqual([])
  })
})

describe('the shape of a file', () => {
  // Tables and the page of ports are read by looking up, not from top to bottom.
  const TABLES = ['errors.ts', 'host/ports.ts']

  test('is below 250 lines', () => {
    const long = files.filter(({ file, text }) => !TABLES.includes(file) && text.split('\n').length > 250)
    expect(long.map(({ file }) => file)).toEqual([])
  })

  test('has no default export', () => {
    expect(files.filter(({ text }) => /^export default/m.test(text)).map(({ file }) => file)).toEqual([])
  })

  test('is named in kebab-case', () => {
    expect(files.map(({ file }) => file).filter((file) => !/^([a-z0-9-]+\/)*[a-z0-9-]+\.ts$/.test(file))).toEqual([])
  })

  test('has a sentence over every exported symbol', () => {
    const bare = files.flatMap(({ file, text }) =>
      [...text.matchAll(/^([^\n]*)\nexport (?:async )?(?:function|const|class|interface|type) (\w+)/gm)]
        .filter(([, before = '']) => !/\*\/\s*$/.test(before) && !before.startsWith('// biome-ignore'))
        .map(([, , name]) => `${file}: ${name}`),
    )
    expect(bare).toEqual([])
  })
})

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { renderUnits } from '../../src/render/render-units.ts'
import { CASES, folderOf, planCase, templates } from './read-case.ts'

// UPDATE_GOLDEN=1 writes what is expected from what is; read the difference before it is committed.
const isUpdate = process.env['UPDATE_GOLDEN'] === '1'
const SINGLE = ['error.txt', 'warnings.txt']

/** What a case makes, by path below its folder: the units or the error, and the warnings where there are any. */
function made(name: string): ReadonlyMap<string, string> {
  const result = planCase(name)
  const files = new Map<string, string>()
  if (result.warnings.length > 0) files.set('warnings.txt', `${result.warnings.join('\n')}\n`)
  if (result.kind === 'error') return files.set('error.txt', result.text)
  for (const unit of renderUnits(result.plan, templates)) files.set(`units/${unit.name}`, unit.text)
  return files
}

function expected(name: string): ReadonlyMap<string, string> {
  const units = path.join(folderOf(name), 'units')
  const files = existsSync(units) ? readdirSync(units).map((file) => `units/${file}`) : []
  for (const file of SINGLE) if (existsSync(path.join(folderOf(name), file))) files.push(file)
  return new Map(files.map((file) => [file, readFileSync(path.join(folderOf(name), file), 'utf8')]))
}

function update(name: string, files: ReadonlyMap<string, string>): void {
  for (const old of ['units', ...SINGLE]) rmSync(path.join(folderOf(name), old), { recursive: true, force: true })
  for (const [file, text] of files) {
    mkdirSync(path.dirname(path.join(folderOf(name), file)), { recursive: true })
    writeFileSync(path.join(folderOf(name), file), text)
  }
}

describe.each(CASES)('%s', (name) => {
  const files = made(name)
  if (isUpdate) update(name, files)
  const wanted = expected(name)

  test('makes these files and no other', () => {
    expect([...files.keys()].sort()).toEqual([...wanted.keys()].sort())
    expect(files.size).toBeGreaterThan(0)
  })

  test.each([...wanted])('%s', (file, text) => {
    expect(files.get(file)).toBe(text)
  })

  test('no secret stands in a unit', () => {
    const result = planCase(name)
    const values = result.kind === 'plan' ? [...result.secrets.values()] : []
    const all = [...files.values()].join('')
    expect(values.filter((value) => all.includes(value))).toEqual([])
  })
})

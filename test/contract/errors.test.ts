import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { definitionOf, ERRORS, type ErrorCode, isErrorCode, MachineError, stepOfCode } from '../../src/errors.ts'

const root = path.resolve(import.meta.dirname, '../..')
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8')
const codes = Object.keys(ERRORS).filter(isErrorCode)
const sources = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && file !== 'errors.ts')
  .map((file) => ({ file, text: read(path.join('src', file)) }))

const TYPES = `config_missing config_invalid permission_denied disk_full network_unreachable network_timeout dns_failure
tls_failure http_error auth_failed api_contract git_failed dependency_conflict pip_failed install_script_failed
checksum_mismatch download_incomplete gpu_not_found gpu_lost driver_mismatch port_in_use exec_failed process_exit
process_signal oom_kill start_timeout watchdog start_limit dependency_failed import_failed not_responding
redis_unreachable bus_error internal`.split(/\s+/)

/** Every code that the source names in a literal, with the files that do. */
const named = new Map<string, readonly string[]>()
for (const { file, text } of sources) {
  // A comment names codes for the reader; only what runs counts.
  const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '')
  for (const [, name = ''] of code.matchAll(/['"`](CM[0-9]{4})\b/g)) named.set(name, [...(named.get(name) ?? []), file])
}

test('every code that the source names is registered', () => {
  expect([...named.keys()].filter((code) => !isErrorCode(code))).toEqual([])
})

describe.each(codes)('%s', (code) => {
  const { name, type, sentence, hint, run } = definitionOf(code)

  test('is made somewhere', () => {
    expect(named.get(code)?.length ?? 0).toBeGreaterThan(0)
  })

  test('belongs to a step, and its type to the closed list', () => {
    expect(stepOfCode(code)).toBeGreaterThanOrEqual(0)
    expect(stepOfCode(code)).toBeLessThanOrEqual(21)
    expect(TYPES).toContain(type)
  })

  test('says what happened, what to do and how to look closer', () => {
    expect(name).toMatch(/^[a-z0-9]+(_[a-z0-9]+)*$/)
    expect(sentence).toMatch(/^(?:[a-z]|ComfyUI|Redis|WORKERS|systemd).*[^.]$/)
    expect(hint).toMatch(/^[A-Z].*\.$/)
    expect(run).not.toBe('')
  })
})

test('names are not used twice', () => {
  const names = codes.map((code) => definitionOf(code).name)
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([])
})

test('the table of the README lists the registry and nothing else', () => {
  const section =
    read('README.md')
      .split(/^## Error codes$/m)[1]
      ?.split(/^## /m)[0] ?? ''
  const rows = section.split('\n').filter((line) => /^\| *`?CM/.test(line))
  const expected = codes.map((code) => {
    const { name, type, sentence } = definitionOf(code)
    return `| ${code} | \`${name}\` | \`${type}\` | ${sentence} |`
  })
  expect(rows, 'the rows as they must stand in README.md').toEqual(expected)
})

test('a failure takes hint and type of its row unless it knows better', () => {
  const code: ErrorCode = 'CM1601'
  expect(new MachineError(code, 'no route')).toMatchObject({ type: 'network_unreachable', hint: ERRORS[code].hint })
  const exact = new MachineError(code, 'no such name', { type: 'dns_failure', hint: 'Check the name.' })
  expect(exact).toMatchObject({ type: 'dns_failure', hint: 'Check the name.' })
})

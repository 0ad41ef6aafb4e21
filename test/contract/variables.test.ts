import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { VARIABLES } from '../../src/config/variables.ts'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const has = (text: string, name: string): boolean => new RegExp(`(?<![A-Za-z0-9_])${name}(?![A-Za-z0-9_])`).test(text)

/** The rows of the first table below a heading of a Markdown text. */
function tableBelow(text: string, heading: string): readonly string[] {
  const section = text.split(/^(?=## )/m).find((part) => part.startsWith(`${heading}\n`)) ?? ''
  return section.split('\n').filter((line) => line.startsWith('|'))
}

const template = read('packaging/deb/machine.env')

describe.each(VARIABLES)('$name', ({ name, aliases, default: fallback }) => {
  test('is in machine.env', () => {
    expect([name, ...aliases].some((candidate) => has(template, candidate))).toBe(true)
  })

  test('has a row in the configuration table of the README', () => {
    const cells = tableBelow(read('README.md'), '## Configuration').map((row) => row.split('|')[1] ?? '')
    expect(cells.some((cell) => has(cell, name))).toBe(true)
  })

  test('has the default that machine.env shows', () => {
    const shown = new RegExp(`^#?${name}=(.*)$`, 'm').exec(template)?.[1]
    if (shown !== undefined && fallback !== null) expect(shown).toBe(fallback)
  })
})

test('machine.env sets nothing that is not known', () => {
  const names = [...template.matchAll(/^#?([A-Za-z_]+)=/gm)].map((match) => match[1])
  const known = VARIABLES.flatMap((variable) => [variable.name, ...variable.aliases])
  expect(names.filter((name) => name !== undefined && !known.includes(name))).toEqual([])
})

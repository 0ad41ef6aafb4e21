import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { VARIABLES } from '../../src/config/variables.ts'

const ansible = path.resolve(import.meta.dirname, '../../ansible')
const read = (file: string): string => readFileSync(path.join(ansible, file), 'utf8')
const role = 'roles/comfy_machine'

interface Argument {
  readonly name: string
  readonly type: string
  readonly required: boolean
  readonly default: string | undefined
  readonly description: string
}

/** The options of argument_specs.yml, which has one line for each of their fields. */
const specified: readonly Argument[] = [
  ...read(`${role}/meta/argument_specs.yml`).matchAll(/^ {6}(\w+):\n((?: {8}.*\n)+)/gm),
].map(([, name = '', body = '']) => {
  const field = (key: string): string | undefined => new RegExp(`^ {8}${key}: (.*)$`, 'm').exec(body)?.[1]
  return {
    name,
    type: field('type') ?? '',
    required: field('required') === 'true',
    default: field('default'),
    description: field('description') ?? '',
  }
})

const files = readdirSync(path.join(ansible, role), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => path.join(entry.parentPath, entry.name))

describe('the role comfy_machine', () => {
  test('has one row in the table of its README for each argument', () => {
    const section =
      read(`${role}/README.md`)
        .split(/^## /m)
        .find((part) => part.startsWith('Arguments\n')) ?? ''
    const rows = section.split('\n').filter((line) => line.startsWith('| `'))
    expect(specified.length).toBeGreaterThan(5)
    expect(rows).toEqual(
      specified.map(({ name, type, required, default: fallback, description }) => {
        const shown = required ? 'required' : `\`${fallback}\``
        return `| \`${name}\` | ${type} | ${shown} | ${description} |`
      }),
    )
  })

  test('has the defaults that it specifies, and no others', () => {
    const defaults = [...read(`${role}/defaults/main.yml`).matchAll(/^(\w+): (.*)$/gm)].map(([line]) => line)
    const expected = specified.filter(({ required }) => !required).map((a) => `${a.name}: ${a.default}`)
    expect(defaults).toEqual(expected)
  })

  test('uses every argument in its tasks or templates', () => {
    const text = files
      .filter((file) => /\/(tasks|templates|handlers)\//.test(file))
      .map((file) => readFileSync(file, 'utf8'))
      .join('\n')
    expect(specified.map(({ name }) => name).filter((name) => !new RegExp(`\\b${name}\\b`).test(text))).toEqual([])
  })

  test('needs no collection: every module is built in', () => {
    const modules = files
      .filter((file) => /\/(tasks|handlers)\//.test(file))
      .flatMap((file) => [...readFileSync(file, 'utf8').matchAll(/^ *(?:- )?([a-z_]+\.[a-z_]+\.[a-z_]+):/gm)])
      .map(([, name]) => name ?? '')
    expect(modules.length).toBeGreaterThan(10)
    expect(modules.filter((name) => !name.startsWith('ansible.builtin.'))).toEqual([])
  })

  test('hides each task that handles secrets', () => {
    const tasks = files
      .filter((file) => file.includes('/tasks/'))
      .flatMap((file) => readFileSync(file, 'utf8').split(/^ *(?=- name: )/m))
      .filter((task) => task.includes('comfy_machine_secrets'))
    expect(tasks.length).toBeGreaterThan(0)
    expect(tasks.filter((task) => !/^ *no_log: true$/m.test(task))).toEqual([])
  })

  test('is shown in the example inventory with arguments and variables that exist, secrets apart', () => {
    const inventory = read('inventory.example.yml')
    const names = [...inventory.matchAll(/^ {4}(comfy_machine_\w+):/gm)].map(([, name]) => name)
    expect(names).toEqual(names.filter((name) => specified.some((argument) => argument.name === name)))
    const variablesOf = (key: string): readonly string[] => {
      const block = new RegExp(`^ {4}${key}:\\n((?: {6}.*\\n)+)`, 'm').exec(inventory)?.[1] ?? ''
      return [...block.matchAll(/^ {6}(\w+):/gm)].map(([, name]) => name ?? '')
    }
    const known = (secret: boolean): readonly string[] =>
      VARIABLES.filter((variable) => variable.secret === secret).map(({ name }) => name)
    expect(known(false)).toEqual(expect.arrayContaining([...variablesOf('comfy_machine_environment')]))
    expect(known(true)).toEqual(expect.arrayContaining([...variablesOf('comfy_machine_secrets')]))
    const shown = [...variablesOf('comfy_machine_environment'), ...variablesOf('comfy_machine_secrets')]
    const required = VARIABLES.filter((variable) => variable.required).map(({ name }) => name)
    expect(shown).toEqual(expect.arrayContaining(required))
  })
})

import { describe, expect, test } from 'vitest'
import { assignment, escapeValue, execLine, quoteArgument, quoteWord } from '../../../src/render/escape.ts'
import { compileTemplates, renderUnit } from '../../../src/render/render-units.ts'
import { verifyUnit } from '../../../src/render/verify-unit.ts'

describe('escapeValue', () => {
  test('doubles %, so that no specifier is expanded', () => {
    expect(escapeValue('100% of %h')).toBe('100%% of %%h')
    expect(escapeValue(8188)).toBe('8188')
  })

  test.each([undefined, null, 'a\nb', 'a\rb', 'a\0b'])('refuses %j', (value) => {
    expect(() => escapeValue(value)).toThrow(/missing|line break or NUL/)
  })
})

test.each([
  ['plain', 'plain'],
  ['', '""'],
  ['two words', '"two words"'],
  ['say "hi"', '"say \\"hi\\""'],
  ['back\\slash', '"back\\\\slash"'],
  ['$HOME', '$$HOME'],
  ['a $HOME', '"a $$HOME"'],
  [';', '";"'],
  ['it’s', '"it’s"'],
])('the argument %s is written %s', (argument, written) => {
  expect(quoteArgument(argument)).toBe(written)
})

test('a path or assignment keeps its $, which systemd does not expand there', () => {
  expect(quoteWord('/srv/$HOME')).toBe('/srv/$HOME')
  expect(quoteWord('/srv/my data')).toBe('"/srv/my data"')
  expect(assignment('A', 'b c')).toBe('"A=b c"')
  expect(execLine(['/bin/a', 'b c'])).toBe('/bin/a "b c"')
})

describe('renderUnit', () => {
  const templates = compileTemplates(
    new Map([
      ['good', '[Unit]\nDescription=<%= unit.name %>\n'],
      ['raw', '[Unit]\nDescription=<%- unit.name %>\n'],
    ]),
  )

  test('renders and escapes', () => {
    const unit = renderUnit({ name: 'a.service', template: 'good', values: { name: '5%' } }, templates)
    expect(unit).toEqual({ name: 'a.service', text: '[Unit]\nDescription=5%%\n' })
  })

  test('refuses a value that is missing, and says for which unit', () => {
    expect(() => renderUnit({ name: 'a.service', template: 'good', values: {} }, templates)).toThrow(
      expect.objectContaining({ code: 'CM1001', message: expect.stringContaining('a.service: a value is missing') }),
    )
  })

  test('refuses what does not read as a unit, even when it was not escaped', () => {
    const values = { name: 'a\n/bin/sh' }
    expect(() => renderUnit({ name: 'a.service', template: 'raw', values }, templates)).toThrow(
      expect.objectContaining({ code: 'CM1001', message: expect.stringContaining('line 3: not a directive') }),
    )
  })

  test('says when the package has no such template, or one that is not EJS', () => {
    const unit = { name: 'a.service', template: 'other', values: {} }
    expect(() => renderUnit(unit, templates)).toThrow(expect.objectContaining({ code: 'CM0701' }))
    expect(() => compileTemplates(new Map([['broken', '<% if ( { %>']]))).toThrow(
      expect.objectContaining({ code: 'CM0701', message: expect.stringContaining('broken') }),
    )
  })
})

describe('verifyUnit', () => {
  test('finds nothing in a unit', () => {
    expect(verifyUnit('# a\n[Unit]\nDescription=a b\n\n[Service]\nCapabilityBoundingSet=\n')).toEqual([])
    expect(verifyUnit('[Unit]\nDescription=one\u2028line\n')).toEqual([])
  })

  test.each([
    ['Description=a\n', 'line 1: Description= stands outside a section'],
    ['[Units]\n', 'line 1: unknown section [Units]'],
    ['[Unit]\nDescription\n', 'line 2: not a directive: Description'],
    ['[Unit]\nAfter=\n', 'line 2: After= has no value'],
    ['[Unit]\nDescription=a\\\n', 'line 2: Description= ends in a continuation'],
  ])('%j: %s', (text, problem) => {
    expect(verifyUnit(text)).toEqual([problem])
  })
})

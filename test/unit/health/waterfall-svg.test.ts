import { describe, expect, test } from 'vitest'
import { fitText } from '../../../src/health/svg-text.ts'
import { findStartups } from '../../../src/health/trace-model.ts'
import { waterfallSvg } from '../../../src/health/waterfall-svg.ts'
import type { SpanRecord } from '../../../src/host/ports.ts'
import { STARTUP_SPAN } from '../../../src/steps.ts'
import { buildFailedStartup, buildIncident, buildPart, buildRoot, buildStartup, buildStepSpan } from './build-trace.ts'
import { allOf, readXml, type XmlElement } from './read-xml.ts'

function svgOf(records: readonly SpanRecord[]): string {
  const [trace] = findStartups(records)
  if (trace === undefined) throw new Error('no startup')
  return waterfallSvg(trace)
}
const draw = (records: readonly SpanRecord[]): readonly XmlElement[] => allOf(readXml(svgOf(records)))
const classOf = ({ attributes }: XmlElement): readonly string[] => (attributes['class'] ?? '').split(' ')
const having = (elements: readonly XmlElement[], kind: string) =>
  elements.filter((each) => classOf(each).includes(kind))
const number = (element: XmlElement | undefined, name: string): number => Number(element?.attributes[name])

/** The group of the row whose name begins so. */
function rowOf(elements: readonly XmlElement[], label: string): XmlElement {
  const row = elements.find(
    (each) =>
      each.name === 'g' &&
      having(allOf(each), 'name').some(({ text }) => text.startsWith(label)) &&
      each.children[0]?.name === 'title',
  )
  if (row === undefined) throw new Error(`no row ${label}`)
  return row
}

describe('the SVG', () => {
  test('stands alone: nothing runs in it, nothing is loaded', () => {
    const elements = draw(buildStartup(2))
    const kinds = new Set(elements.map(({ name }) => name))
    expect([...kinds].sort()).toEqual([
      'clipPath',
      'desc',
      'g',
      'line',
      'path',
      'rect',
      'style',
      'svg',
      'text',
      'title',
    ])
    const style = elements.find(({ name }) => name === 'style')?.text ?? ''
    expect(style).toContain('@media (prefers-color-scheme: dark)')
    expect(svgOf(buildStartup(2))).not.toMatch(/@import|@font-face|href|url\((?!#)|\son\w+=/)
  })

  test('says what it shows to those who do not see it', () => {
    const [svg, title, description] = draw(buildFailedStartup())
    expect(svg?.attributes).toMatchObject({ role: 'img', 'aria-labelledby': 'wf-title wf-desc' })
    expect(title).toMatchObject({ name: 'title', text: 'Startup of machine-1: failed after 41.1 s' })
    expect(description?.text).toContain('sha256 is 3f01')
  })

  test('has a row per span, with the critical path, the failure and the skipped step apart', () => {
    const good = draw(buildStartup(2))
    const groups = good.filter((each) => each.name === 'g' && each.children[0]?.name === 'title')
    expect(groups).toHaveLength(buildStartup(2).length)
    expect(classOf(rowOf(good, 'Models Installation'))).toEqual(['path'])
    expect(classOf(rowOf(good, 'Custom Nodes'))).toEqual(['work'])
    expect(allOf(rowOf(good, 'Models Installation'))[0]?.children[0]?.text).toBe(
      'step 18, machine.models.install: begun after 6.1 s, took 34.9 s',
    )

    const bad = draw(buildFailedStartup())
    expect(classOf(rowOf(bad, 'Models Installation'))).toContain('failed')
    expect(having(allOf(rowOf(bad, 'Models Installation')), 'mark')).toHaveLength(2)
    expect(classOf(rowOf(bad, 'Custom Nodes'))).toContain('skipped')
    expect(having(bad, 'note').map(({ text }) => text)).toEqual([
      'attempt 1 failed after 13.9 s: CM1801 models.example.com: connection refused',
      'CM1804 ae.safetensors: sha256 is 3f01, expected 9a02',
    ])
    expect(having(bad, 'hint').map(({ text }) => text)).toEqual(['Correct the hash in the API.'])
  })

  test('has a legend and round times on its axis, which is repeated below a tall chart', () => {
    const texts = having(draw(buildStartup(2)), 'soft').map(({ text }) => text)
    expect(texts).toEqual(
      expect.arrayContaining(['critical path', 'other work', 'failed', 'skipped', 'failed attempt']),
    )
    const ticks = (gpus: number) => having(draw(buildStartup(gpus)), 'tick').map(({ text }) => text)
    expect(ticks(2)).toEqual(['0', '10 s', '20 s', '30 s', '40 s', '50 s'])
    expect(ticks(56)).toHaveLength(14)
  })

  test('puts bars where their times are', () => {
    const bar = (label: string) => having(allOf(rowOf(draw(buildStartup(2)), label)), 'bar')[0]
    const whole = bar('Startup')
    const models = bar('Models Installation')
    const scale = number(whole, 'width') / 58_150
    expect(number(models, 'x') - number(whole, 'x')).toBeCloseTo(6_101 * scale, 0)
    expect(number(models, 'width')).toBeCloseTo(34_899 * scale, 0)
    expect(number(bar('Entrypoint'), 'width')).toBe(2)
  })

  test.each([2, 56])('has no text over another with %i GPUs, and nothing outside', (gpus) => {
    const elements = draw([...buildStartup(gpus), buildIncident(90_000), buildIncident(95_000, { traceId: 'b' })])
    const texts = elements.filter(({ name }) => name === 'text')
    const height = number(elements[0], 'height')
    const lines = Map.groupBy(having(texts, 'took').concat(having(texts, 'name'), having(texts, 'note')), (each) =>
      number(each, 'y'),
    )
    const ys = [...lines.keys()].sort((a, b) => a - b)
    expect(ys.every((y, index) => index === 0 || y - (ys[index - 1] ?? 0) >= 14)).toBe(true)
    expect(Math.max(...texts.map((each) => number(each, 'y')))).toBeLessThan(height)
  })

  test('lists what happened afterwards, and tells that a startup is unfinished', () => {
    const running = buildStartup(2).filter(({ name }) => name !== STARTUP_SPAN)
    const elements = draw([...running, buildIncident(90_000)])
    expect(elements[1]?.text).toBe('Startup of machine-1: unfinished, on record for 58.2 s')
    expect(having(elements, 'note').map(({ text }) => text)).toEqual([
      '2026-09-21T14:14:50.000000Z  comfyui@gpu1.service  CM1990 comfyui@gpu1.service was killed by signal 9',
    ])
  })

  test('is well-formed with hostile names, and shows them as text', () => {
    const evil = '</text><script>alert("1")</script>&amp;\u0000\u001b[31m\ufffe\ud800 \u202eabc\''
    const error = `CM1804: ${evil}`
    const records = [
      buildRoot(0, 9, { traceId: evil, error, attributes: { machine_id: evil } }),
      buildStepSpan(18, 0, 9, { traceId: evil, error, attributes: { step_name: evil } }),
      buildPart(18, evil, 0, 9, { traceId: evil }),
      buildPart(18, 'M'.repeat(100_000), 0, 9, { traceId: evil, error: `CM1804: ${'M'.repeat(100_000)}` }),
      buildIncident(9, { error, attributes: { 'systemd.unit': evil }, links: [{ traceId: evil, spanId: '' }] }),
    ]
    const elements = draw(records)
    expect(elements.some(({ name }) => name === 'script')).toBe(false)
    expect(elements.some(({ text }) => text.includes('</text><script>alert("1")</script>&amp;'))).toBe(true)
    expect(svgOf(records)).not.toMatch(/[\u202a-\u202e]/)
    expect(svgOf(records).length).toBeLessThan(20_000)
  })
})

describe('fitText', () => {
  test('keeps what fits and cuts what does not, never within a sign', () => {
    expect(fitText('gpu0', 100, 12)).toBe('gpu0')
    expect(fitText('m'.repeat(100), 120, 12)).toBe(`${'m'.repeat(9)}…`)
    expect(fitText('i'.repeat(100), 120, 12).length).toBeGreaterThan(20)
    expect(fitText('😀'.repeat(50), 120, 12).isWellFormed()).toBe(true)
  })
})

import { describe, expect, test } from 'vitest'
import { findStartups } from '../../../src/health/trace-model.ts'
import { startupLines, waterfallLines } from '../../../src/health/waterfall.ts'
import type { SpanRecord } from '../../../src/host/ports.ts'
import { FAILURE_EVENT, STARTUP_SPAN } from '../../../src/steps.ts'
import {
  buildAttempt,
  buildFailedStartup,
  buildIncident,
  buildPart,
  buildRoot,
  buildStartup,
  buildStepSpan,
  TRACE_ID,
} from './build-trace.ts'

function linesOf(records: readonly SpanRecord[], columns = 80, colour = false): readonly string[] {
  const [trace] = findStartups(records)
  if (trace === undefined) throw new Error('no startup')
  return waterfallLines(trace, { colour, columns })
}

describe('the waterfall', () => {
  test('of a startup that became ready', () => {
    const steps = buildStartup(2).filter(({ attributes }) =>
      [0, 17, 18, 19].includes(Number(attributes['step_number'])),
    )
    expect(linesOf([...steps, buildIncident(90_000)]).join('\n')).toBe(
      `
trace ${TRACE_ID}  2026-09-21T14:13:20.000000Z  58.2 s  ready
Startup                                 +0 µs      58.2 s   ████████████████████
  18 Models Installation               +6.1 s      34.9 s *   █████████████
    model ae.safetensors               +6.2 s       2.8 s     ██
    model flux1-dev.safetensors        +6.2 s      34.7 s *   █████████████
  17 Custom Nodes Installation         +8.7 s      12.3 s     ██████
    node comfyui-manager               +8.9 s      10.1 s      ████
      clone                            +9.0 s       5.0 s      ██
      pip install                     +14.0 s       4.9 s       ███
    node kjnodes                       +8.9 s       3.1 s      ██
  19 ComfyUI Server Start             +41.0 s      16.0 s *               ██████
    gpu0                              +41.0 s      16.0 s                 ██████
    gpu1                              +41.0 s      16.0 s *               ██████

after the startup:
  2026-09-21T14:14:50.000000Z  comfyui@gpu1.service  CM1990 comfyui@gpu1.service was killed by signal 9

* determined how long the startup took   ! failed   - skipped`.trim(),
    )
  })

  test('of a startup that failed: attempts, code, message and hint below the step, once', () => {
    const lines = linesOf(buildFailedStartup())
    expect(lines.slice(0, 2)).toEqual([
      `trace ${TRACE_ID}  2026-09-21T14:13:20.000000Z  41.1 s  failed`,
      'failed: CM1804: ae.safetensors: sha256 is 3f01, expected 9a02',
    ])
    const at = lines.findIndex((line) => line.includes('18 Models'))
    expect(lines.slice(at, at + 7)).toEqual([
      '  18 Models Installation               +6.1 s      34.9 s !   ██████████████████',
      '       attempt 1 failed after 13.9 s: CM1801 models.example.com: connection refused',
      '       CM1804 ae.safetensors: sha256 is 3f01, expected 9a02',
      '       hint: Correct the hash in the API.',
      '    model ae.safetensors              +25.0 s      15.9 s !             ████████',
      '    model flux1-dev.safetensors       +25.0 s       5.0 s               ███',
      '  17 Custom Nodes Installation         +8.7 s     skipped -',
    ])
  })

  test('shows an attempt that was repeated with success, at the GPU that it belongs to', () => {
    const events = [buildAttempt(500, 1, 'CM1990', 'exited with status 1')]
    const lines = linesOf([
      buildRoot(0, 1_000),
      buildStepSpan(19, 0, 1_000, { events }),
      buildPart(19, 'machine.comfyui.server.start gpu0', 0, 1_000, { events }),
      buildPart(19, 'machine.comfyui.server.start gpu1', 0, 900),
    ])
    const notes = lines.flatMap((line, index) => (line.includes('attempt 1') ? [[lines[index - 1], line]] : []))
    expect(notes).toEqual([
      [expect.stringContaining('gpu0'), '      attempt 1 failed after 500 ms: CM1990 exited with status 1'],
    ])
  })

  test('takes the hint of the registry where the record has only a code and a message', () => {
    const lines = linesOf([buildRoot(0, 9), buildStepSpan(14, 0, 9, { error: 'CM1402: python3-venv is missing' })])
    expect(lines).toContain('       CM1402 python3-venv is missing')
    expect(lines).toContain('       hint: Check that python3 and python3-venv are installed.')
  })

  test('says of a startup that is not finished what is not on record', () => {
    const part = buildStartup(2).filter(
      ({ name, attributes }) => name !== STARTUP_SPAN && attributes['step_number'] !== 18,
    )
    const lines = linesOf(part)
    expect(lines[0]).toMatch(/ 58\.2 s {2}unfinished$/)
    expect(lines[1]).toBe('not on record yet: step 18')
  })

  test('names the startup that this one follows', () => {
    const links = [{ traceId: 'b'.repeat(32), spanId: 'x' }]
    expect(linesOf([buildRoot(0, 1, { links })])).toContain(`follows trace ${'b'.repeat(32)}`)
  })

  test('prints no control characters of others, and cuts rows to the width', () => {
    const evil = '\u001b]0;title\u0007\u001b[31mred\nline <script>'
    const events = [{ name: FAILURE_EVENT, atUs: 0, attributes: { error_code: evil, error_message: evil, hint: evil } }]
    const lines = linesOf([
      buildRoot(0, 9, { error: evil, links: [{ traceId: evil, spanId: '' }] }),
      buildStepSpan(18, 0, 9, { error: evil, events, attributes: { step_name: evil } }),
      buildPart(18, 'x'.repeat(5_000), 0, 9, { error: 'y'.repeat(5_000) }),
      buildIncident(9, { error: evil, attributes: { 'systemd.unit': evil } }),
    ])
    for (const line of lines) expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/)
    const rows = lines.filter((line) => line.includes('█'))
    expect(rows.every((row) => row.length <= 80)).toBe(true)
    expect(rows.at(-1)).toMatch(/x… /)
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(500)
  })

  test('is coloured only where that is wanted', () => {
    expect(linesOf(buildFailedStartup()).join('')).not.toContain('\u001b')
    const colourful = linesOf(buildFailedStartup(), 80, true)
    expect(colourful.find((line) => line.includes('18 Models'))).toMatch(/^\u001b\[31m.*\u001b\[0m$/)
    expect(colourful.find((line) => line.includes('17 Custom'))).toMatch(/^\u001b\[2m/)
    expect(colourful.find((line) => line.includes(' 1 Host'))).toMatch(/^\u001b\[1m/)
  })
})

test('the list has a line per startup, the newest first', () => {
  const later = buildRoot(100_000, 110_000, { traceId: 'b'.repeat(32) })
  expect(startupLines(findStartups([...buildFailedStartup(), later]))).toEqual([
    `  1  ${'b'.repeat(32)}  2026-09-21T14:15:00.000000Z      10.0 s  ready`,
    `  2  ${TRACE_ID}  2026-09-21T14:13:20.000000Z      41.1 s  failed      CM1804`,
  ])
})

import { describe, expect, it } from 'vitest'
import { exitCode, type StatusOptions, showStatus } from '../../../src/commands/status.ts'
import type { Sighting } from '../../../src/health/record.ts'
import { STEPS } from '../../../src/steps.ts'
import {
  BEGUN_US,
  buildDownloading,
  buildFailed,
  buildReady,
  buildState,
  buildStep,
  seen,
} from '../health/build-state.ts'
import { keepingTerminal, movingClock, recordOf } from './ports.ts'

const NOTHING: Sighting = { alive: false }

async function run(options: StatusOptions, sightings: readonly Sighting[], terminal = keepingTerminal()) {
  const clock = movingClock(BEGUN_US + 20_000_000)
  const code = await showStatus(options, { record: recordOf(...sightings), clock, terminal })
  const waitedMs = (clock.nowUs() - BEGUN_US - 20_000_000) / 1000
  return { code, out: terminal.out.join(''), err: terminal.err.join(''), waitedMs }
}

describe('status', () => {
  it('shows 21 rows with number, title, state and duration', async () => {
    const { out, code } = await run({}, [seen(buildState())])
    const rows = out.split('\n').filter((line) => /^[ \d]\d {2}/.test(line))
    expect(rows).toHaveLength(21)
    for (const [index, row] of rows.entries()) expect(row).toContain(STEPS[index]?.title)
    expect(rows[16]).toMatch(/^17 {2}Custom Nodes Installation +running +3\.0 s/)
    expect(rows[20]).toMatch(/^21 {2}Machine Ready +pending$/)
    expect(code).toBe(2)
  })

  it('shows what fails, the hint and what to run', async () => {
    const { out, code } = await run({}, [seen(buildFailed(), false)])
    expect(out).toContain('CM1804  step 18 Models Installation, comfy-install-models.service\n')
    expect(out).toContain('        ae.safetensors: sha256 is 3f01, expected 9a02\n')
    expect(out).toContain('        Correct the hash in the API.\n')
    expect(out).toContain('        run: journalctl -u comfy-install-models -b -e\n')
    expect(code).toBe(1)
  })

  it('prints colour only where it is wanted, and no control characters of others', async () => {
    const evil = buildState({ warnings: ['\u001b]0;title\u0007 \u001b[31mred\nline'] })
    expect((await run({}, [seen(evil)])).out).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/)
    const colourful = await run({}, [seen(buildState())], keepingTerminal({ isTTY: true, colour: true }))
    expect(colourful.out).toContain('\u001b[36mrunning \u001b[0m')
  })

  it('has a bar, bytes, rate and the time left below a running step that tells them', async () => {
    const { out } = await run({}, [seen(buildDownloading())])
    const lines = out.split('\n')
    const row = lines.findIndex((line) => line.startsWith('18  Models Installation'))
    expect(lines[row]).toMatch(/ running +2\.0 s {2}comfy-install-models\.service$/)
    expect(lines[row + 1]).toBe('    [####----------------] 22%  3/32 models, 41.2/181 GB, 212 MB/s, 11 min left')
  })

  it.each([60, 80, 200])('fits the bar to a terminal of %i columns', async (columns) => {
    const terminal = keepingTerminal({ isTTY: true, columns, colour: true })
    const { out } = await run({}, [seen(buildDownloading())], terminal)
    const line = out.split('\n').find((each) => each.includes('█')) ?? ''
    const plain = line.replace(/\u001b\[\d*m/g, '')
    expect(plain.length).toBeLessThanOrEqual(columns)
    expect(plain).toMatch(/^ {4}█+░+ 22% {2}3\/32 models/)
    if (columns >= 80) expect(plain).toContain('212 MB/s, 11 min left')
  })

  it('prints the document of GET /status as JSON', async () => {
    const { out } = await run({ json: true }, [seen(buildReady())])
    expect(JSON.parse(out)).toMatchObject({ machine_id: 'machine-1', ready: true, agent: { pid: 100, alive: true } })
  })
})

describe('exitCode', () => {
  it('does not lie', () => {
    expect(exitCode(seen(buildReady()))).toBe(0)
    expect(exitCode(seen(buildReady(), false))).toBe(1)
    expect(exitCode(seen(buildReady({ phase: 'degraded' })))).toBe(1)
    expect(exitCode(seen(buildState({ phase: 'stopped' }), false))).toBe(1)
    expect(exitCode(seen(buildFailed(), false))).toBe(1)
    expect(exitCode(seen(buildState()))).toBe(2)
    expect(exitCode(seen(buildState(), false))).toBe(1)
    expect(exitCode(NOTHING)).toBe(2)
    expect(exitCode({ alive: false, trouble: 'torn' })).toBe(1)
  })
})

describe('status --wait', () => {
  it('waits through nothing and starting until ready', async () => {
    const { code, out } = await run({ wait: true }, [NOTHING, NOTHING, seen(buildState()), seen(buildReady())])
    expect(code).toBe(0)
    expect(out.match(/Machine Ready/g)).toHaveLength(1)
  })

  it('ends with 1 when the startup fails while it is watched, at once', async () => {
    const { code, err, waitedMs } = await run({ wait: true }, [seen(buildState()), seen(buildFailed(), false)])
    expect(code).toBe(1)
    expect(waitedMs).toBe(1_000)
    expect(err).toContain('step 18 Models Installation failed, CM1804')
  })

  it('gives an old record time to be replaced by a new startup', async () => {
    const old = seen(buildFailed(), false)
    const next = buildReady({ traceId: 'ff'.repeat(16) })
    expect((await run({ wait: true }, [old, old, seen(next)])).code).toBe(0)
    const alone = await run({ wait: true }, [old])
    expect(alone.code).toBe(1)
    expect(alone.waitedMs).toBe(3_000)
  })

  it('ends with 1 when the agent has ended in the middle', async () => {
    const { code, err } = await run({ wait: true }, [seen(buildState()), seen(buildState(), false)])
    expect(code).toBe(1)
    expect(err).toContain('the host agent (pid 100) has ended; its last word was starting')
  })

  it('goes on with an agent that was restarted', async () => {
    const again = seen(buildState({ agentPid: 200 }))
    const { code } = await run({ wait: true }, [
      seen(buildState(), false),
      again,
      again,
      again,
      again,
      seen(buildReady()),
    ])
    expect(code).toBe(0)
  })

  it('ends with 2 when the time has passed', async () => {
    const { code, err, waitedMs } = await run({ wait: true, timeoutS: 2.5 }, [seen(buildState())])
    expect(code).toBe(2)
    expect(waitedMs).toBe(2_500)
    expect(err).toContain('not ready after 2.5 s')
  })
})

describe('status --watch', () => {
  const half = buildState()
  const more = { ...half, steps: half.steps.map((step) => (step.number === 17 ? buildStep(17, 'done') : step)) }

  it('prints a line per change where nothing can be redrawn', async () => {
    const { out } = await run({ watch: true, wait: true }, [seen(half), seen(half), seen(more), seen(buildReady())])
    const lines = out.trimEnd().split('\n')
    expect(lines.filter((line) => line.includes('Custom Nodes'))).toHaveLength(3)
    expect(lines.filter((line) => line.includes('API Discovery Call'))).toHaveLength(1)
    expect(lines.at(-1)).toMatch(/^\d\d:\d\d:\d\d {2}machine ready: every wanted unit is active$/)
  })

  it('logs how far a step is on one line', async () => {
    const further = buildDownloading()
    const { out } = await run({ watch: true, wait: true }, [seen(half), seen(further), seen(buildReady())])
    expect(out).toMatch(/18 {2}Models Installation .* 3\/32 models, 41\.2\/181 GB, 212 MB\/s, 11 min left\n/)
    expect(out).not.toContain('[#')
  })

  it('redraws the bar of a terminal when the record changes', async () => {
    const further = buildDownloading()
    const steps = further.steps.map((step) =>
      step.progress === undefined ? step : { ...step, progress: { ...step.progress, bytes: 90e9 } },
    )
    const terminal = keepingTerminal({ isTTY: true, columns: 100 })
    await run({ watch: true, wait: true }, [seen(further), seen({ ...further, steps }), seen(buildReady())], terminal)
    const shares = terminal.out.map((screen) => /[█░] +(\d+)%/.exec(screen)?.[1])
    expect(shares).toEqual(['22', '49', undefined])
  })

  it('redraws a terminal within its rows and columns', async () => {
    const terminal = keepingTerminal({ isTTY: true, columns: 60, rows: 24 })
    await run({ watch: true, wait: true }, [seen(half), seen(buildReady())], terminal)
    for (const screen of terminal.out) {
      const lines = screen.replace('\u001b[H\u001b[2J\u001b[3J', '').trimEnd().split('\n')
      expect(lines.length).toBeLessThanOrEqual(23)
      for (const line of lines) expect(line.length).toBeLessThanOrEqual(60)
    }
    expect(terminal.out[0]).toContain('Machine Ready')
  })
})

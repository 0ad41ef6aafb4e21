import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { renderPage } from '../../../src/health/page.ts'
import { PAGE_SCRIPT, PAGE_SCRIPT_SOURCE } from '../../../src/health/page-assets.ts'
import { BEGUN_US, buildDownloading, buildFailed, buildReady, buildState, buildStep, seen } from './build-state.ts'

const NOW_US = BEGUN_US + 20_000_000

describe('renderPage', () => {
  it('shows the 21 steps, what fails and what to run', () => {
    const page = renderPage(seen(buildFailed(), false), NOW_US)
    expect(page.match(/<tr><td class="n">\d+<td>/g)).toHaveLength(21)
    expect(page).toContain('<td>Models Installation<td class="failed">failed')
    expect(page).toContain('<b class="failed">CM1804</b>')
    expect(page).toContain('<code>journalctl -u comfy-install-models -b -e</code>')
  })

  it('lets no text from outside become markup', () => {
    const evil = '<script>alert("x")</script>\'&'
    const steps = buildState().steps.map((step) =>
      step.number === 17 ? buildStep(17, 'running', { detail: evil, unit: evil }) : step,
    )
    const page = renderPage(
      seen(buildState({ machineId: evil, steps, warnings: [evil], evidence: { [evil]: evil } })),
      NOW_US,
    )
    expect(page).not.toContain('<script>alert')
    expect(
      page.match(/&lt;script&gt;alert\(&quot;x&quot;\)&lt;\/script&gt;&#39;&amp;/g)?.length,
    ).toBeGreaterThanOrEqual(6)
  })

  it('draws a bar for a step that tells how far it is', () => {
    const page = renderPage(seen(buildDownloading()), NOW_US)
    expect(page.match(/<progress /g)).toHaveLength(1)
    expect(page).toContain('11 min left<progress value="0.228"></progress>')
  })

  it('loads nothing from anywhere', () => {
    const page = renderPage(seen(buildReady()), NOW_US)
    expect(page).not.toMatch(/(?:src|href)="(?:https?:)?\/\//)
    expect(page).not.toContain('<link rel="stylesheet"')
  })

  it('has a script that its policy admits', () => {
    const digest = createHash('sha256').update(PAGE_SCRIPT).digest('base64')
    expect(PAGE_SCRIPT_SOURCE).toBe(`sha256-${digest}`)
    expect(renderPage({ alive: false }, NOW_US)).toContain(`<script>${PAGE_SCRIPT}</script>`)
  })
})

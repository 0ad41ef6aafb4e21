import { describe, expect, it } from 'vitest'
import { type ExplainOptions, explain } from '../../../src/commands/explain.ts'
import { ERRORS } from '../../../src/errors.ts'
import type { Sighting } from '../../../src/health/record.ts'
import { buildFailed, buildReady, seen } from '../health/build-state.ts'
import { shortfallAt } from '../observe/build-machine.ts'
import { keepingTerminal, recordOf } from './ports.ts'

async function run(options: ExplainOptions, sighting: Sighting = { alive: false }) {
  const terminal = keepingTerminal()
  const code = await explain(options, { record: recordOf(sighting), terminal })
  return { code, out: terminal.out.join(''), err: terminal.err.join('') }
}

describe('explain', () => {
  it('explains a code by number, in any case, and by name', async () => {
    for (const code of ['CM1804', 'cm1804', '1804', 'model_checksum_mismatch']) {
      const { out, code: exit } = await run({ code })
      expect(exit).toBe(0)
      expect(out).toContain('CM1804 model_checksum_mismatch')
      expect(out).toContain('18 Models Installation')
      expect(out).toContain(ERRORS.CM1804.hint)
      expect(out).toContain(ERRORS.CM1804.run)
    }
  })

  it('explains every registered code', async () => {
    for (const code of Object.keys(ERRORS)) expect((await run({ code })).code, code).toBe(0)
  })

  it('refuses an unknown code with 64 and what may have been meant', async () => {
    expect(await run({ code: 'CM1840' })).toMatchObject({
      code: 64,
      out: '',
      err: expect.stringContaining('did you mean CM18'),
    })
    expect((await run({ code: 'model_cheksum_mismatch' })).err).toContain('did you mean CM1804?')
    expect((await run({ code: 'nonsense' })).err).toContain('explain lists all codes')
  })

  it('lists all codes', async () => {
    const lines = (await run({})).out.trimEnd().split('\n')
    expect(lines).toHaveLength(Object.keys(ERRORS).length)
  })

  it('explains what fails now', async () => {
    const { out } = await run({ last: true }, seen(buildFailed(), false))
    expect(out).toContain('here    ae.safetensors: sha256 is 3f01, expected 9a02')
    expect((await run({ last: true }, seen(buildReady()))).out).toContain('nothing fails')
    await expect(run({ last: true })).rejects.toMatchObject({ code: 'CM0003' })
    await expect(run({ last: true, code: 'CM1804' })).rejects.toMatchObject({ code: 'CM0002' })
  })

  it('separates what fails at several places', async () => {
    const [failing] = buildFailed().failing
    if (failing === undefined) throw new Error('nothing fails')
    const { out } = await run({ last: true }, seen(buildFailed({ failing: [failing, failing] }), false))
    expect(out.match(/^CM1804 /gm)).toHaveLength(2)
    expect(out).toContain('\n\nCM1804 ')
  })

  it('explains what the machine goes on without, though nothing fails', async () => {
    const sighting = seen(buildReady({ shortfalls: [shortfallAt()] }))
    const { code, out } = await run({ last: true }, sighting)
    expect(code).toBe(0)
    expect(out).toMatch(/^nothing fails: .* but without custom node face \(CM1902\)\n\nCM1902 node_import_failed\n/)
    expect(out).toContain('  here    custom node face: ModuleNotFoundError')
    expect(out).toContain('  hint    Add the package that has the Python module cv2')
    const document = JSON.parse((await run({ last: true, json: true }, sighting)).out)
    expect(document).toMatchObject({
      failing: [],
      degraded: [{ code: 'CM1902', component: 'custom node face', gpu: 'gpu0' }],
    })
  })

  it('prints JSON', async () => {
    expect(JSON.parse((await run({ code: '1804', json: true })).out)).toMatchObject({
      code: 'CM1804',
      name: 'model_checksum_mismatch',
      step: 18,
      step_name: 'Models Installation',
      transient: false,
    })
    expect(JSON.parse((await run({ json: true })).out).codes).toHaveLength(Object.keys(ERRORS).length)
    expect(JSON.parse((await run({ last: true, json: true }, seen(buildFailed(), false))).out)).toMatchObject({
      failing: [{ code: 'CM1804', unit: 'comfy-install-models.service', attempt: 1, lines: [] }],
    })
    expect(JSON.parse((await run({ last: true, json: true }, seen(buildReady()))).out)).toEqual({
      reason: 'every wanted unit is active',
      failing: [],
      degraded: [],
    })
    expect(await run({ code: 'CM1840', json: true })).toMatchObject({ code: 64, out: '' })
  })
})

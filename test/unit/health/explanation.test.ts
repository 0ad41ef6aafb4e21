import { describe, expect, test } from 'vitest'
import { ERRORS } from '../../../src/errors.ts'
import { codeDocument, explainCode, explainFailing, failingDocument } from '../../../src/health/explanation.ts'
import type { FailingState, MachineState, UnitState } from '../../../src/observe/state.ts'
import { buildFailed, buildUnit } from './build-state.ts'

const UNIT = 'comfy-install-models.service'
const INVOCATION = 'ab'.repeat(16)

function failingOf(changes: Partial<FailingState> = {}): FailingState {
  const [failing] = buildFailed().failing
  if (failing === undefined) throw new Error('nothing fails')
  return { ...failing, ...changes }
}
const withUnit = (changes: Partial<UnitState>): MachineState => buildFailed({ units: [buildUnit(UNIT, changes)] })

describe('the explanation of a code', () => {
  test('has every part of the registry, and where to find each case of it', () => {
    const { hint, sentence, run } = ERRORS.CM1804
    expect(explainCode('CM1804')).toEqual([
      'CM1804 model_checksum_mismatch',
      `  what    ${sentence}`,
      '  step    18 Models Installation',
      '  type    checksum_mismatch',
      `  hint    ${hint}`,
      `  run     ${run}`,
      '          journalctl COMFY_ERROR_CODE=CM1804 -x -e',
      '  retry   does not pass by itself',
    ])
    expect(explainCode('CM1801').at(-1)).toContain('may pass by itself')
  })

  test('of the command line names no step and no journal', () => {
    expect(explainCode('CM0002')).toContain('  step    none: the command itself')
    expect(codeDocument('CM0002')).toMatchObject({ step: 0, step_name: null, run: ['comfy-machine --help'] })
  })
})

describe('the explanation of what fails', () => {
  test('leads to the journal of the invocation that failed, to the lines of the step and to the trace', () => {
    const lines = explainFailing(
      failingOf({ lines: ['GET ae.safetensors', 'sha256 \u001b[31mdiffers'] }),
      withUnit({ activeState: 'failed' }),
    )
    expect(lines.slice(6)).toEqual([
      '  run     journalctl -u comfy-install-models -b -e',
      `          journalctl _SYSTEMD_INVOCATION_ID=${INVOCATION} + INVOCATION_ID=${INVOCATION}`,
      '          journalctl COMFY_TRACE_ID=0af7651916cd43dd8448eb211c80319c COMFY_STEP=18',
      '          comfy-machine trace 0af7651916cd43dd8448eb211c80319c',
      '  lines   GET ae.safetensors',
      '          sha256  [31mdiffers',
    ])
  })

  test('names the invocation only of a unit that has not been started again', () => {
    const second = (state: MachineState) => failingDocument(failingOf(), state).run[1]
    const whole = `journalctl -u ${UNIT} -b -e`
    expect(second(withUnit({ activeState: 'activating', subState: 'auto-restart' }))).toContain(INVOCATION)
    expect(second(withUnit({ activeState: 'activating', subState: 'start' }))).toBe(whole)
    expect(second(withUnit({ activeState: 'failed', invocationId: '' }))).toBe(whole)
    expect(second(buildFailed({ units: [] }))).toBe(whole)
  })

  test('keeps hostile names within one word of the shell and one line', () => {
    const { run } = failingDocument(failingOf({ unit: "x'; rm -rf $HOME\n.service" }), buildFailed())
    expect(run[1]).toBe("journalctl -u 'x'\\''; rm -rf $HOME .service' -b -e")
  })

  test('says each command once', () => {
    const { run } = failingDocument(failingOf({ run: `journalctl -u ${UNIT} -b -e` }), buildFailed({ units: [] }))
    expect(new Set(run).size).toBe(run.length)
    expect(run).toHaveLength(3)
  })

  test('is a document with the words of the case', () => {
    expect(failingDocument(failingOf({ gpu: 'gpu0', lines: ['a'] }), buildFailed())).toMatchObject({
      code: 'CM1804',
      message: 'ae.safetensors: sha256 is 3f01, expected 9a02',
      hint: 'Correct the hash in the API.',
      gpu: 'gpu0',
      at: '2026-09-21T14:13:38.500000Z',
      lines: ['a'],
    })
  })
})

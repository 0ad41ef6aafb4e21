import { describe, expect, test } from 'vitest'
import { isManagedUnit } from '../../../src/apply/diff.ts'
import { renderUnits } from '../../../src/render/render-units.ts'
import { unitsOf, wantedUnits } from '../../../src/render/unit-values.ts'
import { templates } from '../../golden/read-case.ts'
import { planOf } from '../observe/build-machine.ts'

const SHARED = 'MODEL_SHARE_PORT=9191\n'
const UNITS = ['comfy-share-models.socket', 'comfy-share-models.service']
const namesOf = (environment: string): readonly string[] => unitsOf(planOf(1, environment)).map(({ name }) => name)
const wantsOf = (environment: string): unknown =>
  unitsOf(planOf(1, environment)).find(({ name }) => name === 'comfy-machine.target')?.values['wants']

describe('models for other machines', () => {
  test('are given only where a port is named', () => {
    expect(namesOf('').filter((name) => UNITS.includes(name))).toEqual([])
    expect(namesOf(SHARED).filter((name) => UNITS.includes(name))).toEqual(UNITS)
    expect(UNITS.every(isManagedUnit)).toBe(true)
  })

  test('by a socket that the target wants, and the machine is ready without it', () => {
    const [health, ...others] = wantedUnits(planOf(1, SHARED))
    expect(wantsOf(SHARED)).toEqual([health, 'comfy-sandbox.socket', ...others, UNITS[0]])
    expect(wantsOf('')).toEqual([health, 'comfy-sandbox.socket', ...others])
  })

  test('by a process that has no secret and writes nothing', () => {
    const secret = 'HF_TOKEN=hidden\nCIVITAI_TOKEN=hidden\n'
    const unit = renderUnits(planOf(1, `${SHARED}${secret}`), templates).find(({ name }) => name === UNITS[1])
    expect(unit?.text).toMatch(/^User=comfy-agent$/m)
    expect(unit?.text).toMatch(/^ReadOnlyPaths=-\/.*\/models$/m)
    expect(unit?.text).not.toMatch(/LoadCredential|ReadWritePaths|hidden/)
  })

  test('end with the machine', () => {
    for (const { name, text } of renderUnits(planOf(1, SHARED), templates)) {
      if (UNITS.includes(name)) expect(text).toMatch(/^PartOf=comfy-machine\.target$/m)
    }
  })
})

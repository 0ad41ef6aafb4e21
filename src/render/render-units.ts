import ejs from 'ejs'
import { MachineError, messageOf } from '../errors.ts'
import type { MachinePlan } from '../plan/plan.ts'
import type { UnitToRender } from './common-values.ts'
import { escapeValue } from './escape.ts'
import { unitsOf } from './unit-values.ts'
import { verifyUnit } from './verify-unit.ts'

/** Unit templates of the package by file name without `.ejs`. */
export type Templates = ReadonlyMap<string, string>

/** A unit file as it is to stand in /run/systemd/system. */
export interface RenderedUnit {
  readonly name: string
  readonly text: string
}

type Template = (values: Readonly<Record<string, unknown>>) => string

/** Compiled templates. Throws CM0701 for a template that is not EJS. */
export function compileTemplates(templates: Templates): ReadonlyMap<string, Template> {
  const compile = (name: string, text: string): Template => {
    try {
      const compiled = ejs.compile(text, { escape: escapeValue, strict: true, localsName: 'unit', compileDebug: false })
      return (values) => compiled(values)
    } catch (error) {
      throw new MachineError('CM0701', `template ${name}: ${messageOf(error)}`, { cause: error })
    }
  }
  return new Map([...templates].map(([name, text]) => [name, compile(name, text)]))
}

/** The text of one unit, verified. Throws CM1001 naming the unit and the value or line at fault. */
export function renderUnit(unit: UnitToRender, templates: ReadonlyMap<string, Template>): RenderedUnit {
  const template = templates.get(unit.template)
  if (template === undefined) throw new MachineError('CM0701', `the package has no template ${unit.template}.ejs`)
  let text: string
  try {
    text = template(unit.values)
  } catch (error) {
    throw new MachineError('CM1001', `${unit.name}: ${messageOf(error)}`, { cause: error })
  }
  const problems = verifyUnit(text)
  if (problems.length > 0) throw new MachineError('CM1001', `${unit.name}: ${problems.join('; ')}`)
  return { name: unit.name, text }
}

/** All units of a plan, rendered and verified. Throws CM0701 or CM1001; nothing is written. */
export function renderUnits(plan: MachinePlan, templates: Templates): readonly RenderedUnit[] {
  const compiled = compileTemplates(templates)
  return unitsOf(plan).map((unit) => renderUnit(unit, compiled))
}

/**
 * The units that the package itself ships, rendered from the defaults: the health port answers and a trace is delivered
 * before a plan exists, and so also when the configuration cannot be read.
 */
export function renderPackagedUnits(templates: Templates, port = 9090): readonly RenderedUnit[] {
  const compiled = compileTemplates(templates)
  const unit = (name: string, values: UnitToRender['values']): RenderedUnit =>
    renderUnit({ name, template: name, values }, compiled)
  const delivery = { logFields: [], credentials: [], secrets: '' }
  return [
    unit('comfy-health.socket', { port }),
    unit('comfy-health.service', { logFields: [] }),
    unit('comfy-telemetry.service', delivery),
    unit('comfy-telemetry.path', {}),
  ]
}

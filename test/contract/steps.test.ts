import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { stepsOfUnit } from '../../src/observe/unit-steps.ts'
import { wantedUnits } from '../../src/render/unit-values.ts'
import {
  FAILURE_EVENT,
  INCIDENT_SPAN,
  ROLLOUT_GPU_SPAN,
  ROLLOUT_SPAN,
  STARTUP_SPAN,
  STEPS,
  stepOf,
} from '../../src/steps.ts'
import { planOf } from '../unit/observe/build-machine.ts'

const root = path.resolve(import.meta.dirname, '../..')
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8')
const sources = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => ({ file, text: read(path.join('src', file)) }))

const CONTRACT = `
1 | Host Start | machine.container.start | host_environment
2 | Entrypoint Launch | machine.entrypoint.start | host_environment
3 | Environment Loading | machine.environment.load | host_environment
4 | Directory Setup | machine.directories.setup | host_environment
5 | Service Manager Setup | machine.service_manager.setup | host_environment
6 | Unit Generation | machine.systemd.generation.start | unit_generation | machine.pm2.generation.start
7 | Generator Call | machine.systemd.generator.start | unit_generation | machine.pm2.enhanced_generator.start
8 | Service Mapping Load | machine.systemd.service_mapping.load | unit_generation | machine.pm2.service_mapping.load
9 | Hardware Detection | machine.systemd.hardware.detect | unit_generation | machine.pm2.hardware.detect
10 | Unit Output | machine.systemd.units.write | unit_generation | machine.pm2.config.write
11 | Daemon Reload | machine.systemd.daemon.reload | service_startup | machine.pm2.daemon.start
12 | Health Server Start | machine.health_server.start | service_startup
13 | ComfyUI Service Start | machine.comfyui.service.start | service_startup
14 | ComfyUI Installer Init | machine.comfyui.installer.init | component_installation
15 | Component Manager Init | machine.component_manager.init | component_installation
16 | API Discovery Call | machine.api.discovery.call | component_installation
17 | Custom Nodes Installation | machine.custom_nodes.install | component_installation
18 | Models Installation | machine.models.install | component_installation
19 | ComfyUI Server Start | machine.comfyui.server.start | comfyui_ready
20 | Worker Connection | machine.worker.connection.start | comfyui_ready
21 | Machine Ready | machine.ready.complete | comfyui_ready
`.trim()

test('the 21 rows are those that dashboards and runbooks know', () => {
  const rows = STEPS.map(({ number, title, event, phase, legacyEvent }) =>
    [number, title, event, phase, legacyEvent].filter((cell) => cell !== undefined).join(' | '),
  )
  expect(rows.join('\n')).toBe(CONTRACT)
})

test('the table of the README has the same rows', () => {
  const section =
    read('README.md')
      .split(/^## The 21 steps$/m)[1]
      ?.split(/^## /m)[0] ?? ''
  const rows = section.split('\n').filter((line) => /^\| *[0-9]+ *\|/.test(line))
  const cells = rows.map((row) => row.split('|').map((cell) => cell.trim().replaceAll('`', '')))
  expect(cells.map(([, ...row]) => row.slice(0, 4).join(' | '))).toEqual(
    STEPS.map(({ number, title, event, phase }) => [number, title, event, phase].join(' | ')),
  )
})

test('an event is named in steps.ts and nowhere else', () => {
  const events = [
    ...STEPS.map(({ event }) => event),
    STARTUP_SPAN,
    FAILURE_EVENT,
    INCIDENT_SPAN,
    ROLLOUT_SPAN,
    ROLLOUT_GPU_SPAN,
  ]
  const named = sources
    .filter(({ file }) => file !== 'steps.ts')
    .filter(({ text }) => events.some((event) => new RegExp(`['"\`]${event}['"\`]`).test(text)))
  expect(named.map(({ file }) => file)).toEqual([])
})

/** The steps whose end is told by a call that names the number: `recorder.step(N, …)` and `endStep(machine, N, …)`. */
const called = sources.flatMap(({ file, text }) =>
  [...text.matchAll(/(?:\brecorder\s*\.step\(\s*|\bendStep\(\s*machine,\s*)([0-9]+),/g)].map((match) => ({
    file,
    number: Number(match[1]),
  })),
)
const units = ['comfy-machine.service', ...wantedUnits(planOf(1))]

describe.each(STEPS)('step $number, $title', ({ number, owner }) => {
  test('is told in one place', () => {
    const calls = called.filter((call) => call.number === number).map(({ file }) => file)
    const followed = (['unit', 'job', 'report'] as const).flatMap((kind) =>
      units.filter((unit) => stepsOfUnit(unit, kind).some(({ step }) => step.number === number)),
    )
    if (owner.kind === 'manager' || owner.kind === 'controller') {
      expect({ calls: calls.length, followed }).toEqual({ calls: 1, followed: [] })
      return
    }
    expect(followed).toEqual([owner.unit.replace('gpuN', 'gpu0')])
    // The controller does not follow its own unit: it reads it once, when it is running already.
    expect(calls.length).toBe(owner.unit === 'comfy-machine.service' ? 1 : 0)
  })
})

test('only the rows of units, jobs and reports are per GPU, and every GPU has its own', () => {
  const perGpu = STEPS.filter(({ owner }) => 'unit' in owner && owner.unit.includes('gpuN'))
  expect(perGpu.map(({ number }) => number)).toEqual([13, 19, 20])
  for (const gpu of ['gpu0', 'gpu7', 'gpu55'])
    expect(stepsOfUnit(`redis-worker@${gpu}.service`, 'unit')).toEqual([{ step: stepOf(20), gpu }])
})

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { packagedUnits } from '../../packaging/units.ts'
import { isManagedUnit } from '../../src/apply/diff.ts'
import { splitArguments } from '../../src/config/split-arguments.ts'
import { MachineError } from '../../src/errors.ts'
import type { MachinePlan } from '../../src/plan/plan.ts'
import { renderPackagedUnits, renderUnits } from '../../src/render/render-units.ts'
import { unitsOf, wantedUnits } from '../../src/render/unit-values.ts'
import { CASES, planCase, planOfCase, templates } from '../golden/read-case.ts'
import { planOf } from '../unit/observe/build-machine.ts'

const planned = CASES.filter((name) => planCase(name).kind === 'plan')
const rendered = planned.flatMap((name) =>
  renderUnits(planOfCase(name), templates).map((unit) => ({ ...unit, title: `${name}/${unit.name}` })),
)

/** Values of a directive, each line's own. */
const valuesOf = (text: string, key: string): readonly string[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith(`${key}=`))
    .map((line) => line.slice(key.length + 1))
const wordsOf = (text: string, key: string): readonly string[] =>
  valuesOf(text, key).flatMap((value) => value.split(' '))

test('there are plans of one, two and eight GPUs to render', () => {
  expect(planned).toEqual(expect.arrayContaining(['one-p100', 'two-mock-gpus', 'eight-gpus', 'a100-mig']))
})

test('every template is rendered', () => {
  const packaged = renderPackagedUnits(templates).map(({ name }) => name)
  const used = [...packaged, ...planned.flatMap((name) => unitsOf(planOfCase(name)).map(({ template }) => template))]
  expect([...templates.keys()].sort()).toEqual([...new Set(used)].sort())
})

describe.each(rendered)('$title', ({ name, text }) => {
  test('is a unit that the controller may replace', () => {
    expect(isManagedUnit(name)).toBe(true)
  })

  test('is written by comfy-machine and says so', () => {
    expect(text).toMatch(/^# Rendered by comfy-machine; do not edit/)
    expect(valuesOf(text, 'Documentation')).toEqual(['man:comfy-machine(8)'])
    expect(valuesOf(text, 'Description')).toHaveLength(1)
  })

  test('runs nothing but the command and the Python of ComfyUI', () => {
    // The runtime by name, with options of its own, and the command's file are the command too.
    const command =
      /^(Exec\w+=)\/usr\/lib\/comfy-machine\/bin\/node (?:--[\w-]+(?:=\d+)? )*\/usr\/lib\/comfy-machine\/main\.js /gm
    const programs = [
      ...text.replace(command, '$1/usr/bin/comfy-machine ').matchAll(/^Exec\w+=(?:"((?:[^"\\]|\\.)*)"|(\S+))/gm),
    ].map((match) => match[1] ?? match[2])
    for (const program of programs.filter((each) => each !== '/bin/sleep'))
      expect(program).toMatch(/^(\/usr\/bin\/comfy-machine|\/.*\/comfyui\/gpu\d+\/venv\/bin\/python)$/)
    expect(programs.length > 0).toBe(name.endsWith('.service'))
  })

  test('is ordered after whatever it requires', () => {
    const after = wordsOf(text, 'After')
    const required = [...wordsOf(text, 'Requires'), ...wordsOf(text, 'BindsTo')]
    expect(required.filter((unit) => !after.includes(unit))).toEqual([])
  })

  test('runs as a user of its own, without privileges, and sees the system read-only', () => {
    if (!name.endsWith('.service')) return
    const isInstaller = /^comfy-(install|discover|load-models|sandbox|update|collect)/.test(name)
    expect(valuesOf(text, 'User')[0]).toBe(
      isInstaller ? 'comfy-install' : name.startsWith('comfyui') ? 'comfy' : 'comfy-agent',
    )
    if (isInstaller) expect(valuesOf(text, 'PrivateDevices')).toEqual(['yes'])
    expect(valuesOf(text, 'CapabilityBoundingSet')).toEqual([''])
    expect(valuesOf(text, 'NoNewPrivileges')).toEqual(['yes'])
    expect(valuesOf(text, 'ProtectSystem')).toEqual(['strict'])
  })

  test('says nowhere anything of a shell', () => {
    expect(text).not.toMatch(/\b(ba)?sh -c\b|\/bin\/sh\b/)
  })
})

describe('the units of one plan', () => {
  const plan = planOf(3)
  const units = new Map(renderUnits(plan, templates).map(({ name, text }) => [name, text]))

  test('the target wants every wanted unit, and the sandbox', () => {
    const [health, ...others] = wantedUnits(plan)
    const wants = [health, 'comfy-sandbox.socket', ...others]
    expect(valuesOf(units.get('comfy-machine.target') ?? '', 'Wants')).toEqual(wants)
  })

  test('whatever is required is rendered too', () => {
    const required = [...units.values()].flatMap((text) => [...wordsOf(text, 'Requires'), ...wordsOf(text, 'BindsTo')])
    expect([...new Set(required)].filter((name) => !units.has(name))).toEqual([])
  })

  test('stopping the target stops everything but the health server', () => {
    const sandbox = ['comfy-sandbox.socket', 'comfy-sandbox@.service']
    const kept = [...wantedUnits(plan), ...sandbox].filter(
      (name) => !wordsOf(units.get(name) ?? '', 'PartOf').includes('comfy-machine.target'),
    )
    expect(kept).toEqual(['comfy-health.service'])
  })

  test('the sandbox gets no secret, sees none and writes the new generation only', () => {
    const text = units.get('comfy-sandbox@.service') ?? ''
    expect(text).not.toContain('LoadCredential')
    const { workspace, run } = plan.paths
    expect(valuesOf(text, 'InaccessiblePaths')).toEqual(
      ['/run/credentials', run, '/etc/comfy-machine/secrets.env', `${workspace}/node-env`].map((path) => `-${path}`),
    )
    expect(valuesOf(text, 'ReadWritePaths')).toEqual([
      `-${workspace}/comfyui/next`,
      ...['uv', 'pip', 'home'].map((name) => `-/var/cache/comfy-machine/${name}`),
    ])
  })

  test('what runs cannot change what runs, unless the operator wants it of custom nodes', () => {
    const writable = (of: MachinePlan): readonly string[] => {
      const unit = renderUnits(of, templates).find(({ name }) => name === 'comfyui@gpu1.service')
      return valuesOf(unit?.text ?? '', 'ReadWritePaths')
    }
    const { workspace, models } = plan.paths
    expect(writable(plan)).toEqual([`${workspace}/instances`, models])
    const open = { ...plan, nodes: { ...plan.nodes, writable: true } }
    expect(writable(open)).toEqual([`${workspace}/instances`, models, `${workspace}/comfyui/gpu1/custom_nodes`])
  })

  test('each ComfyUI has its own GPU, port and directories', () => {
    const lines = plan.instances.map(({ unit }) => units.get(unit) ?? '')
    for (const pattern of [
      /CUDA_VISIBLE_DEVICES=(\S+)/,
      /--port (\d+)/,
      /--output-directory (\S+)/,
      /--temp-directory (\S+)/,
    ])
      expect(new Set(lines.map((text) => pattern.exec(text)?.[1])).size).toBe(3)
    for (const text of lines) expect(text).not.toContain('--cuda-device')
  })

  test('the step of a unit stands in it', () => {
    const steps = wantedUnits(plan).map((name) => [name, valuesOf(units.get(name) ?? '', 'Step')[0]])
    expect(Object.fromEntries(steps)).toMatchObject({
      'comfy-health.service': '12',
      'comfy-install-comfyui.service': '14',
      'comfy-discover.service': '16',
      'comfy-install-nodes.service': '17',
      'comfy-install-models.service': '18',
      'comfyui@gpu2.service': '19',
      'redis-worker@gpu2.service': '20',
    })
  })
})

test('the package ships the health port and the delivery as they are rendered from the defaults', async () => {
  const shipped = await packagedUnits()
  expect([...shipped.keys()].sort()).toEqual([
    'comfy-health.service',
    'comfy-health.socket',
    'comfy-telemetry.path',
    'comfy-telemetry.service',
  ])
  for (const { name, text } of renderPackagedUnits(templates)) expect(shipped.get(name)).toBe(text)
  expect(shipped.get('comfy-health.socket')).toContain('\nListenStream=9090\n')
})

describe('a value never becomes a directive', () => {
  const hostile = fc.oneof(
    fc.string({ unit: 'grapheme', minLength: 1 }),
    fc.string({ unit: 'binary', minLength: 1 }),
    fc.constantFrom(
      'a\nExecStart=/bin/sh',
      'a\r\n[Service]\nUser=root',
      '%n %% %h',
      '$HOME $PATH $$',
      '"; /bin/sh',
      '\\',
      'a\\',
      ';',
      '# x',
    ),
  )
  const withValues = (value: string): MachinePlan => {
    const plan = planOf(1)
    return {
      ...plan,
      machineId: `m${value}`,
      gpus: plan.gpus.map((gpu) => ({ ...gpu, model: `m${value}`, uuid: `GPU-${value}` })),
      instances: plan.instances.map((instance) => ({ ...instance, listen: value, args: [value, `--x=${value}`] })),
      workers: plan.workers.map((worker) => ({ ...worker, type: `t${value}` })),
      environment: { http_proxy: value },
      paths: { ...plan.paths, workspace: `/srv/${value}`, models: `/models/${value}` },
    }
  }
  const shape = (plan: MachinePlan): readonly string[] =>
    renderUnits(plan, templates).map(({ text }) => text.replaceAll(/^([A-Z]\w*)=[^\n]*$/gm, '$1='))
  const benign = shape(withValues('benign'))
  const renderedOrRefused = (value: string): readonly string[] | 'refused' => {
    try {
      return shape(withValues(value))
    } catch (thrown) {
      if (thrown instanceof MachineError && thrown.code === 'CM1001') return 'refused'
      throw thrown
    }
  }

  test('units have the same lines whatever the values are, or are refused', () => {
    fc.assert(
      fc.property(hostile, (value) => {
        const lines = renderedOrRefused(value)
        if (lines !== 'refused') expect(lines).toEqual(benign)
        else expect(value).toMatch(/[\n\r\0]|\\$/)
      }),
      { numRuns: 150 },
    )
  })

  test('ComfyUI gets its arguments as they were written: systemd splits and expands nothing', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'grapheme' }).filter((word) => !/[\n\r\0]/.test(word))), (args) => {
        const base = planOf(1)
        const plan = { ...base, instances: base.instances.map((instance) => ({ ...instance, args })) }
        const unit = renderUnits(plan, templates).find(({ name }) => name === 'comfyui@gpu0.service')
        const [line = ''] = valuesOf(unit?.text ?? '', 'ExecStart')
        expect(line.replaceAll('%%', '')).not.toContain('%')
        const words = splitArguments(line.replaceAll('%%', '%')).words
        expect(words.every((word) => !word.replaceAll('$$', '').includes('$'))).toBe(true)
        expect(words.slice(words.length - args.length).map((word) => word.replaceAll('$$', '$'))).toEqual(args)
      }),
      { numRuns: 150 },
    )
  })

  test('a list of paths has as many words as paths', () => {
    const base = planOf(1)
    const plan = { ...base, paths: { ...base.paths, workspace: '/srv/my data', models: '/srv/my data/m' } }
    const unit = renderUnits(plan, templates).find(({ name }) => name === 'comfy-install-models.service')
    const words = valuesOf(unit?.text ?? '', 'ReadWritePaths').flatMap((value) => splitArguments(value).words)
    expect(words).toEqual(['/srv/my data', '/srv/my data/m', '/var/cache/comfy-machine'])
  })
})

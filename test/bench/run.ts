import { parseArgs } from 'node:util'
import { benchCommands } from './commands.ts'
import { type Finding, findingsTable } from './figures.ts'
import { benchGenerations } from './generations.ts'
import { benchLatency } from './latency.ts'
import type { BenchOptions } from './machine.ts'
import { COLUMNS } from './model-goals.ts'
import { benchModels } from './models.ts'
import { benchNodes } from './nodes.ts'
import { benchResident } from './resident.ts'
import { benchStart } from './start.ts'
import { benchTelemetry } from './telemetry.ts'

const BENCHES: Readonly<Record<string, (options: BenchOptions) => Promise<readonly Finding[]>>> = {
  commands: benchCommands,
  generations: benchGenerations,
  latency: benchLatency,
  models: benchModels,
  nodes: benchNodes,
  resident: benchResident,
  start: benchStart,
  telemetry: benchTelemetry,
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    gpus: { type: 'string', default: '1,8,56' },
    columns: { type: 'string', default: COLUMNS.map(({ name }) => name).join(',') },
  },
})
const unknown = positionals.find((name) => !Object.hasOwn(BENCHES, name))
if (unknown !== undefined) {
  process.stderr.write(
    `bench: there is no "${unknown}"; npm run bench -- [${Object.keys(BENCHES).join('|')}]… [--quick] [--gpus 1,8,56] [--columns memory,…]\n`,
  )
  process.exit(2)
}
const options: BenchOptions = {
  quick: values.quick,
  gpus: values.gpus.split(',').map(Number),
  columns: values.columns.split(','),
}
const findings: Finding[] = []
for (const [name, bench] of Object.entries(BENCHES)) {
  if (positionals.length === 0 || positionals.includes(name)) findings.push(...(await bench(options)))
}
process.stdout.write(findingsTable(findings))
process.exit(0)

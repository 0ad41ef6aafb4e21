import type { Family, Labels } from './families.ts'
import { jobFamilies } from './job-families.ts'
import { machineFamilies, standingFamilies, stepFamilies } from './machine-families.ts'
import { type Measures, NO_MEASURES } from './measures.ts'
import { modelFamilies } from './model-families.ts'
import type { Sighting } from './record.ts'
import { telemetryFamilies } from './telemetry-families.ts'

/** Every metric of the machine at one moment: what `/metrics` shows, and what goes out over OTLP. */
export function collectFamilies(
  sighting: Sighting,
  nowUs: number,
  measures: Measures = NO_MEASURES,
): readonly Family[] {
  const { state } = sighting
  const { jobs, telemetry } = measures
  return [
    ...standingFamilies(sighting),
    ...(state === undefined ? [] : machineFamilies(state)),
    ...stepFamilies(sighting, nowUs),
    ...(state === undefined ? [] : modelFamilies(state)),
    ...jobFamilies(jobs),
    ...(telemetry === undefined ? [] : telemetryFamilies(telemetry)),
  ].filter((family) => family.samples.length > 0)
}

/** Families in the Prometheus text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats). */
export function renderFamilies(families: readonly Family[]): string {
  return families.map(renderFamily).join('')
}

function renderFamily(family: Family): string {
  const { name, type } = family
  const help = family.help.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${samplesOf(family).join('')}`
}

function samplesOf(family: Family): readonly string[] {
  const { name } = family
  if (family.type !== 'histogram') return family.samples.map(({ labels, value }) => renderSample(name, labels, value))
  return family.samples.flatMap(({ labels, value: { sum, count, buckets } }) => [
    ...[...buckets, { le: '+Inf', count }].map((bucket) =>
      renderSample(`${name}_bucket`, { ...labels, le: bucket.le }, bucket.count),
    ),
    renderSample(`${name}_sum`, labels, sum),
    renderSample(`${name}_count`, labels, count),
  ])
}

function renderSample(name: string, labels: Labels | undefined, value: number): string {
  return `${name}${renderLabels(labels)} ${value}\n`
}

function renderLabels(labels: Labels | undefined): string {
  if (labels === undefined) return ''
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(String(value))}"`)
  return `{${pairs.join(',')}}`
}

function escapeLabel(value: string): string {
  return value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')
}

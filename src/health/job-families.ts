import { counter, type Family, gauge, histogram, type Labels } from './families.ts'
import type { WorkerCounters } from './measures.ts'

/** What the workers have done since their processes began. */
export function jobFamilies(workers: readonly WorkerCounters[]): readonly Family[] {
  return [
    counter(
      'comfy_machine_jobs_total',
      'Jobs that a worker is done with: completed, failed, or returned to the queue.',
      workers.flatMap((each) =>
        Object.entries(each.counters.jobs).map(([outcome, value]) => ({
          labels: { ...labelsOf(each), outcome },
          value,
          sinceUs: each.counters.sinceUs,
        })),
      ),
    ),
    histogram(
      'comfy_machine_job_duration_seconds',
      'How long the jobs took that completed or failed.',
      workers.map((each) => ({
        labels: labelsOf(each),
        value: each.counters.duration,
        sinceUs: each.counters.sinceUs,
      })),
    ),
    counter(
      'comfy_machine_job_output_bytes_total',
      'Bytes of the files that jobs made.',
      workers.map((each) => ({
        labels: labelsOf(each),
        value: each.counters.outputBytes,
        sinceUs: each.counters.sinceUs,
      })),
    ),
    counter(
      'comfy_machine_job_spans_lost_total',
      'Spans of jobs that a worker gave up because the disk or its part of the spool was full.',
      workers.map((each) => ({
        labels: labelsOf(each),
        value: each.counters.lostSpans,
        sinceUs: each.counters.sinceUs,
      })),
    ),
    gauge(
      'comfy_machine_worker_start_timestamp_seconds',
      'When each worker began to count its jobs.',
      workers.map((each) => ({ labels: labelsOf(each), value: each.counters.sinceUs / 1e6 })),
    ),
  ]
}

function labelsOf({ worker }: WorkerCounters): Labels {
  return { gpu: worker.gpu, worker: worker.id }
}

import { mkdir } from 'node:fs/promises'
import { openOutbox } from '../../../src/emit/outbox.ts'
import { systemFiles } from '../../../src/host/files.ts'
import { stepSpanOf } from './step-spans.ts'

// Runs inside a test host, bundled into one file: `telemetry-outbox.mjs FOLDER COUNT` fills an outbox with spans of steps.

const AT_ONCE = 50

const [, , folder = '', count = '0'] = process.argv
await mkdir(folder, { recursive: true })
const outbox = openOutbox(systemFiles, folder, { largestBytes: Number.POSITIVE_INFINITY })
for (let from = 0; from < Number(count); from += AT_ONCE) {
  const length = Math.min(AT_ONCE, Number(count) - from)
  await outbox.append(Array.from({ length }, (_, index) => stepSpanOf(from + index)))
}

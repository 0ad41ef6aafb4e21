/** One entry of WORKERS: a worker type and how many workers of it. */
export interface WorkerRequest {
  readonly type: string
  /** `auto`: one for each GPU that no other entry takes. */
  readonly count: number | 'auto'
}

/** WORKERS as a list, or everything that is wrong with it, one sentence each. */
export interface WorkersResult {
  readonly workers: readonly WorkerRequest[]
  readonly problems: readonly string[]
}

const TYPE = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/

/** Reads `type[:count|auto]`, comma-separated; a type without a count means one worker. */
export function parseWorkers(text: string): WorkersResult {
  const workers: WorkerRequest[] = []
  const problems: string[] = []
  for (const entry of text.split(',').map((part) => part.trim())) {
    const [type = '', count = '1', ...rest] = entry.split(':').map((part) => part.trim())
    if (entry === '') problems.push('an entry is empty; write type:count, separated by single commas')
    else if (!TYPE.test(type)) problems.push(`${JSON.stringify(type)} cannot be a worker type`)
    else if (rest.length > 0) problems.push(`${JSON.stringify(entry)} has more than one colon`)
    else if (workers.some((worker) => worker.type === type)) problems.push(`the type ${type} is named twice`)
    else if (count === 'auto') workers.push({ type, count })
    else if (/^[1-9][0-9]{0,3}$/.test(count)) workers.push({ type, count: Number(count) })
    else problems.push(`${JSON.stringify(count)} is not a count for ${type}; use a number from 1 on, or auto`)
  }
  if (workers.filter((worker) => worker.count === 'auto').length > 1) {
    problems.push('only one type can have the count auto, it takes every GPU that is left')
  }
  return { workers, problems }
}

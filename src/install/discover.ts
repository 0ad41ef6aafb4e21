import { join } from 'node:path'
import { MachineError } from '../errors.ts'
import type { HttpClient } from '../host/install-ports.ts'
import { type ApiCall, callApi } from './component-api.ts'
import { mergeModels, mergeNodes } from './component-merge.ts'
import { COMPONENTS_FILE, type ComponentQuestion, type Components } from './components.ts'
import { type InstallContext, note, parseRecord, progress, reportFacts } from './context.ts'
import { DEFAULT_RETRY, type RetryPolicy } from './retry.ts'

/** Answers of the three calls as they came; null where a call was not wanted. */
type Answers = readonly [defaults: unknown, workflows: unknown, collections: unknown]

/** Steps 15 and 16: asks the component API what this machine needs, or reads the lock, and writes `components.json`. */
export async function discoverComponents(
  context: InstallContext,
  openHttp: () => Promise<HttpClient>,
  retry: RetryPolicy = DEFAULT_RETRY,
  file = COMPONENTS_FILE,
): Promise<void> {
  const { plan, host } = context
  const startUs = host.clock.nowUs()
  const { staleOk, failurePolicy: _policy, lockFile, ...question } = plan.components
  if (lockFile !== null) return takeLock(context, lockFile, file)
  const path = join(plan.paths.workspace, file)
  const known = parseRecord<Components>(await host.files.readText(path))
  const usable = known !== undefined && sameQuestion(known.question, question) ? known : undefined
  const ask = await prepare(context, question, openHttp, retry)
  host.report.write({
    kind: 'step',
    step: 15,
    startUs,
    endUs: host.clock.nowUs(),
    attributes: {
      'components.api_url': question.apiUrl ?? '',
      'components.workflows': question.workflows.length,
      'components.collections': question.collections.length,
      'components.last_answer': usable !== undefined,
    },
  })
  progress(context, question.apiUrl === null ? 'no component API is set' : `asking ${question.apiUrl}`)
  const answers = await ask().catch((error: unknown) => {
    const unreachable = error instanceof MachineError && (error.code === 'CM1601' || error.code === 'CM1602')
    if (!staleOk || usable === undefined || !unreachable) throw error
    note(context, `${error.message}; going on with the last good answer (COMPONENTS_STALE_OK)`, 'warning', {
      COMFY_ERROR_CODE: error.code,
      COMFY_ERROR_TYPE: error.type,
    })
    return undefined
  })
  if (answers === undefined && usable !== undefined) return summarize(context, usable, 'stale')
  const answer = host.digest(JSON.stringify([plan.version, answers]))
  if (usable?.answer === answer) return summarize(context, usable, 'same')
  const components = await resolve(question, answers ?? [null, null, null], answer)
  await host.files.writeText(path, `${JSON.stringify(components, null, 2)}\n`, { durable: true })
  summarize(context, components, 'new')
}

/** The components of a lock. Nobody is asked, so a later answer of the API is never the same. */
async function takeLock(context: InstallContext, lockFile: string, file: string): Promise<void> {
  const { plan, host } = context
  const startUs = host.clock.nowUs()
  const path = join(plan.paths.workspace, file)
  const text = await host.files.readText(lockFile)
  if (text === undefined) throw new MachineError('CM1608', `MACHINE_LOCK: ${lockFile} does not exist`)
  const { allowInsecureSources } = plan.components
  const answer = host.digest(JSON.stringify([plan.version, 'lock', allowInsecureSources, text]))
  const attributes = { 'components.lock': lockFile }
  host.report.write({ kind: 'step', step: 15, startUs, endUs: host.clock.nowUs(), attributes })
  const known = parseRecord<Components>(await host.files.readText(path))
  if (known?.answer === answer) return summarize(context, known, 'same')
  progress(context, `reading ${lockFile}`)
  const { parseLock } = await import('./lock-schema.ts')
  const lock = parseLock(text, lockFile, { allowInsecure: allowInsecureSources, digest: host.digest })
  const question = { apiUrl: null, workflows: [], collections: [], allowInsecureSources }
  const components: Components = { schema: 1, question, answer, nodes: lock.nodes, models: lock.models, lock }
  await host.files.writeText(path, `${JSON.stringify(components, null, 2)}\n`, { durable: true })
  summarize(context, components, 'new')
}

function sameQuestion(a: ComponentQuestion, b: ComponentQuestion): boolean {
  const key = (question: ComponentQuestion): string =>
    JSON.stringify([question.apiUrl, question.workflows, question.collections, question.allowInsecureSources])
  return key(a) === key(b)
}

async function prepare(
  context: InstallContext,
  question: ComponentQuestion,
  openHttp: () => Promise<HttpClient>,
  retry: RetryPolicy,
): Promise<() => Promise<Answers>> {
  const { apiUrl, workflows, collections } = question
  if (apiUrl === null) {
    if (workflows.length + collections.length === 0) return async () => [null, null, null]
    throw new MachineError('CM1501', 'COMPONENTS or COLLECTIONS is set and EMPROPS_API_URL is not')
  }
  const url = URL.canParse(apiUrl) ? new URL(apiUrl) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new MachineError('CM1501', `EMPROPS_API_URL is ${JSON.stringify(apiUrl)}, which is not a web address`)
  }
  const http = await openHttp()
  const options = { http, apiUrl, apiKey: context.host.secrets.read('EMPROPS_API_KEY'), retry }
  const call = (wanted: boolean, one: ApiCall): Promise<unknown> =>
    wanted ? callApi(context, options, one) : Promise.resolve(null)
  return async () => {
    const results = await Promise.allSettled([
      call(true, { method: 'GET', path: '/custom-nodes/defaults' }),
      call(workflows.length > 0, {
        method: 'POST',
        path: '/workflows/dependencies',
        body: { workflow_names: workflows },
      }),
      call(collections.length > 0, {
        method: 'POST',
        path: '/collections/dependencies',
        body: { collection_ids: collections },
      }),
    ])
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    const [defaults, named, collected] = results.map((result) => (result.status === 'fulfilled' ? result.value : null))
    return [defaults, named, collected]
  }
}

/** The answers as this machine's components. The schema library is loaded only when an answer is new. */
async function resolve(question: ComponentQuestion, answers: Answers, answer: string): Promise<Components> {
  const { parseCollections, parseDefaults, parseWorkflows } = await import('./component-schema.ts')
  const { toSources } = await import('./component-normalize.ts')
  const [defaults, workflows, collections] = answers
  const sources = toSources(
    question,
    {
      defaults: parseDefaults(defaults ?? []),
      workflows: parseWorkflows(workflows ?? []),
      collections: parseCollections(collections ?? []),
    },
    question.allowInsecureSources,
  )
  return { schema: 1, question, answer, nodes: mergeNodes(sources), models: mergeModels(sources) }
}

function summarize(context: InstallContext, components: Components, how: 'new' | 'same' | 'stale'): void {
  const { nodes, models } = components
  const bytes = models.reduce((sum, model) => sum + model.estimatedBytes, 0)
  reportFacts(context, {
    'components.nodes': nodes.length,
    'components.models': models.length,
    'components.models_bytes': bytes,
    'components.changed': how === 'new',
    'components.stale': how === 'stale',
  })
  const text = `${nodes.length} custom nodes and ${models.length} models are wanted`
  note(context, how === 'stale' ? `${text} (last good answer)` : text)
  context.host.notify.status(text)
}

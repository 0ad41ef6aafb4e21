import { Queue, QueueEvents, Worker } from 'bullmq'
import { openComfyUI } from '../../../src/host/comfyui-client.ts'
import { openComfySocket } from '../../../src/host/comfyui-socket.ts'
import { connectRedis } from '../../../src/host/redis.ts'
import { collectOutputs, listOutputs } from '../../../src/worker/outputs.ts'

// Runs inside a test host, bundled into one file: `latency.mjs serve` is the bare BullMQ worker, `latency.mjs measure ROUNDS` prints
// {"direct":[ms…],"bare":[ms…],"ours":[ms…]}, in turn job by job.

const REDIS = 'redis://127.0.0.1:6379'
const COMFYUI = 'http://127.0.0.1:8188'
const OURS = 'comfyui'
const BARE = 'bare'

function workflow(color: number) {
  return {
    1: { class_type: 'EmptyImage', inputs: { width: 16, height: 16, batch_size: 1, color } },
    2: { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'bench' } },
  }
}

/** Runs a workflow as the worker does, with the worker's own clients and nothing around them. */
function openDirect(clientId: string): (graph: unknown) => Promise<unknown> {
  const comfyui = openComfyUI(COMFYUI)
  const socket = openComfySocket(COMFYUI, clientId)
  const ended = new Set<string>()
  const waiting = new Map<string, () => void>()
  socket.follow((event) => {
    if (event.kind !== 'message' || event.message.type !== 'executing' || event.message.data['node'] !== null) return
    const id = String(event.message.data['prompt_id'])
    const wake = waiting.get(id)
    if (wake === undefined) ended.add(id)
    else wake()
  })
  return async (graph) => {
    const answer = await comfyui.submit(graph as never, clientId, undefined)
    if (answer.kind !== 'queued') throw new Error(JSON.stringify(answer))
    const { promptId } = answer
    if (!ended.delete(promptId)) await new Promise<void>((resolve) => waiting.set(promptId, resolve))
    waiting.delete(promptId)
    const outputs = await collectOutputs(comfyui.view, listOutputs(await comfyui.history(promptId)))
    if (outputs.length !== 1) throw new Error(`${outputs.length} images came back`)
    return outputs
  }
}

async function serve(): Promise<void> {
  const direct = openDirect('bare-worker')
  const connection = await connectRedis(REDIS, 5_000)
  const worker = new Worker(BARE, (job) => direct(job.data.workflow), { connection, concurrency: 1 })
  await worker.waitUntilReady()
}

async function openQueue(name: string): Promise<(graph: unknown) => Promise<unknown>> {
  const queue = new Queue(name, { connection: await connectRedis(REDIS, 5_000) })
  const events = new QueueEvents(name, { connection: await connectRedis(REDIS, 5_000) })
  await events.waitUntilReady()
  return async (graph) => await (await queue.add('workflow', { workflow: graph })).waitUntilFinished(events, 30_000)
}

async function measure(rounds: number): Promise<void> {
  const ways = { direct: openDirect('direct'), bare: await openQueue(BARE), ours: await openQueue(OURS) }
  const times: Record<string, number[]> = { direct: [], bare: [], ours: [] }
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  const warmUp = 30
  for (let round = 0; round < rounds + warmUp; round += 1) {
    for (const [name, run] of Object.entries(ways)) {
      const begun = performance.now()
      await run(workflow(Math.floor(Math.random() * 0xffffff)))
      if (round >= warmUp) times[name]?.push(performance.now() - begun)
    }
  }
  process.stdout.write(`${JSON.stringify(times)}\n`)
  process.exit(0)
}

if (process.argv[2] === 'serve') await serve()
else await measure(Number(process.argv[3]))

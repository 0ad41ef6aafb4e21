import { messageOf } from '../errors.ts'
import type { Hub } from '../host/ports.ts'
import type { MachineState } from '../observe/state.ts'
import { hubChannel, hubMessage, type UpdateType, type WorkerActivity } from './hub-message.ts'

/** Subscribers call a machine gone after 30 s of silence. */
const PERIOD_MS = 10_000

/** What the publisher reads before each message. */
export interface PublisherSources {
  readonly state: () => MachineState
  readonly readActivity: (state: MachineState) => Promise<ReadonlyMap<string, WorkerActivity>>
  readonly nowUs: () => number
  readonly hostName: string
}

/** Publishes the machine's status on the hub: at each phase change and every ten seconds. Never blocks the machine. */
export class HubPublisher {
  readonly #sources: PublisherSources
  #hub: Hub | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(sources: PublisherSources) {
    this.#sources = sources
  }

  /** Begins to publish; the first message says `initial`. */
  start(hub: Hub): void {
    this.#hub = hub
    void this.tell('initial')
    this.#timer = setInterval(() => void this.tell('periodic'), PERIOD_MS)
    this.#timer.unref()
  }

  /** Publishes once; resolves to the reason when it could not, and to nothing when there is no hub. */
  async tell(updateType: UpdateType): Promise<string | undefined> {
    const hub = this.#hub
    if (hub === undefined) return undefined
    const state = this.#sources.state()
    try {
      const activity = await this.#sources.readActivity(state)
      const healthUrl = `http://${this.#sources.hostName}:${state.healthPort}/health`
      const message = hubMessage(state, updateType, { healthUrl, nowUs: this.#sources.nowUs(), activity })
      return await hub.publish(hubChannel(state.machineId), JSON.stringify(message))
    } catch (error) {
      return messageOf(error)
    }
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#hub?.close()
  }
}

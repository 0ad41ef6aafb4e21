import type { InstallContext } from './context.ts'
import { openTeller } from './teller.ts'

const MOST_NAMES = 3

/** What the node installer is at: a stretch of work over all nodes, and the nodes that are worked on now. */
export interface NodeProgress {
  /** Begins a stretch over `total` nodes; `say` puts it into words. */
  begin(total: number, say: (done: number) => string): void
  /** A node is worked on; `what` tells more than its name. */
  enter(name: string, what?: string): void
  /** A node has been worked on. */
  leave(name: string): void
  stop(): void
}

/** Tells of the nodes as `12/62 custom nodes fetched, node-a, node-b`. */
export function openNodeProgress(context: InstallContext): NodeProgress {
  let [done, total] = [0, 0]
  let say = (_done: number): string => 'custom nodes'
  const current = new Map<string, string>()
  const teller = openTeller(context, () => {
    const names = [...current.values()]
    const more = names.length > MOST_NAMES ? ['…'] : []
    const text = [say(done), ...names.slice(0, MOST_NAMES), ...more].join(', ')
    return { text, progress: { done, total, current: [...current.keys()] } }
  })
  return {
    begin(nodes, words) {
      done = 0
      total = nodes
      say = words
      current.clear()
      teller.begin()
    },
    enter(name, what) {
      current.set(name, what === undefined ? name : `${name}: ${what}`)
      teller.touch()
    },
    leave(name) {
      current.delete(name)
      done += 1
      teller.touch()
    },
    stop: () => teller.stop(),
  }
}

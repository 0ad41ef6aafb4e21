import type { RolloutRecord } from '../../src/plan/pointers.ts'
import type { Host } from './host.ts'
import { WORKSPACE } from './machine.ts'

/** Where the pointers of a machine lie. */
export const HOME = `${WORKSPACE}/comfyui`

/** The word that the ComfyUI of a broken generation says before it ends. */
export const BROKEN = 'out of paint'

/** Makes another generation of the current one; in a broken one a wanted node cannot be imported. */
export async function makeGeneration(host: Host, id: string, kind: 'good' | 'broken' = 'good'): Promise<void> {
  const node = `generations/${id}/custom_nodes/node-alpha/__init__.py`
  await host.must(`set -e; cd ${HOME}
cp -a "$(readlink current)" generations/${id}
if [ -L generations/${id}/custom_nodes ]; then
  shared=$(readlink generations/${id}/custom_nodes); rm generations/${id}/custom_nodes
  cp -a "$shared" generations/${id}/custom_nodes
fi
for f in machine.lock.json .complete; do
  [ ! -e generations/${id}/$f ] || sed -i 's/"generation": *"[^"]*"/"generation": "${id}"/' generations/${id}/$f
done
${kind === 'broken' ? `echo 'raise RuntimeError("${BROKEN}")' > ${node}` : ''}`)
}

/** Points a pointer at a generation, as the installers do. */
export async function point(host: Host, pointer: string, id: string): Promise<void> {
  await host.must(`cd ${HOME} && ln -sfn generations/${id} .${pointer}.new && mv -T .${pointer}.new ${pointer}`)
}

/** Ids by the name of their pointer. */
export async function readAllPointers(host: Host): Promise<Readonly<Record<string, string>>> {
  const text = await host.must(`cd ${HOME} && for p in current next gpu*; do
    [ ! -L $p ] || echo "$p $(basename "$(readlink $p)")"; done`)
  return Object.fromEntries(
    text
      .trim()
      .split('\n')
      .map((line) => line.split(' ') as [string, string]),
  )
}

/** What the controller knows of generations. */
export async function readRollout(host: Host): Promise<RolloutRecord> {
  return JSON.parse(await host.read(`${HOME}/rollout.json`)) as RolloutRecord
}

/** Returns when no rollout goes on and none is asked for. */
export async function waitForRollout(host: Host, timeoutMs = 60_000): Promise<void> {
  const isOver = `[ ! -L ${HOME}/next ] && comfy-machine status --json | grep -q '"rollout":null'`
  await host.waitFor(isOver, timeoutMs)
}

const WATCHED = '/root/watched'

/** Writes down every 50 ms which units are active and what /ready answers, until `stopWatching`. */
export async function startWatching(host: Host, gpus: readonly string[]): Promise<void> {
  const units = gpus.map((gpu) => `comfyui@${gpu} redis-worker@${gpu}`).join(' ')
  const line = `echo "$(systemctl is-active ${units} | tr '\\n' ' ')$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9090/ready)"`
  await host.must(
    `systemd-run --quiet --unit watching --property StandardOutput=truncate:${WATCHED} bash -c 'while :; do ${line.replaceAll("'", "'\\''")}; sleep 0.05; done'`,
  )
}

/** What was written down: whether ComfyUI and worker of each GPU were active, and the status of /ready. */
export async function stopWatching(
  host: Host,
): Promise<readonly { readonly gpus: readonly boolean[]; readonly ready: number }[]> {
  await host.must('systemctl stop watching')
  const lines = (await host.read(WATCHED)).trim().split('\n')
  return lines.map((line) => {
    const words = line.split(' ')
    const pairs = words.slice(0, -1).length / 2
    const gpus = Array.from(
      { length: pairs },
      (_, gpu) => words[2 * gpu] === 'active' && words[2 * gpu + 1] === 'active',
    )
    return { gpus, ready: Number(words.at(-1)) }
  })
}

/** Lines of the controller about generations, oldest first: state and GPU. */
export async function readRolloutLines(host: Host, generation: string): Promise<readonly string[]> {
  const text = await host.must([
    ...['journalctl', '-b', '-q', '-o', 'json', '-u', 'comfy-machine'],
    `COMFY_GENERATION=${generation}`,
  ])
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Readonly<Record<string, string>>)
    .map((entry) => [entry['COMFY_STATE'], entry['COMFY_GPU']].filter((word) => word !== undefined).join(' '))
}

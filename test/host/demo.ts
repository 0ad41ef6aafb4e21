import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { STARTUP_SPAN } from '../../src/steps.ts'
import { machineEnv, secretsEnv } from '../fixtures/machine-env.ts'
import { readSpans } from '../fixtures/spans.ts'
import type { Host } from './host.ts'
import { bootInstalledHost } from './installed.ts'
import { missingRequirement } from './requirements.ts'

const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

const workflow = {
  '1': { class_type: 'EmptyImage', inputs: { width: 256, height: 256, batch_size: 1, color: 3_368_652 } },
  '2': { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'demo' } },
}
const PNG_SIGNATURE = '89504e470d0a1a0a'
const SHOW_MS = 600_000
// The trace is delivered some seconds after the start.
const DELIVERY_TRIES = 60

/**
 * `npm run demo`: a throw-away Debian host with systemd as PID 1, the package installed by apt, a machine with two mock
 * GPUs, its 21 steps live, a job through Redis. Stays up until Ctrl-C; with --exit it ends by itself.
 */
async function demo(stays: boolean): Promise<number> {
  const missing = missingRequirement()
  if (missing !== null) {
    process.stderr.write(`${missing}\n`)
    return 1
  }
  say('Building the package and a Debian host (minutes the first time, seconds later) …')
  const host = await bootInstalledHost({ name: 'demo' })
  try {
    const worked = await showMachine(host)
    if (worked) await sayWhereToLook(host)
    if (!stays) return worked ? 0 : 1
    say('The host stays up until Ctrl-C.')
    await new Promise<void>((resolve) => process.once('SIGINT', () => resolve()))
    return worked ? 0 : 1
  } finally {
    await host.stop()
  }
}

async function showMachine(host: Host): Promise<boolean> {
  await host.write('/etc/comfy-machine/machine.env', machineEnv())
  await host.write('/etc/comfy-machine/secrets.env', secretsEnv(), '0600')
  say(
    `\n${host.name} runs ${(await host.must('systemctl --version | head -n 1')).trim()}; comfy-machine ${(await host.must('comfy-machine --version')).trim()} was installed by apt.`,
  )
  say('$ systemctl start --no-block comfy-machine && comfy-machine status --watch --wait\n')
  await host.must('systemctl start --no-block comfy-machine')
  const shown = await host.exec('comfy-machine status --watch --wait', { timeoutMs: SHOW_MS, echo: true })
  say('')
  await host.exec('comfy-machine status', { echo: true })
  const { code } = await host.exec('systemctl is-active --quiet comfy-machine')
  if (shown.code !== 0 || code !== 0) {
    await host.exec('journalctl -b -u "comfy*" -u "redis-worker*" -p warning --no-pager', { echo: true })
    return false
  }
  return runJob(host)
}

async function runJob(host: Host): Promise<boolean> {
  await host.write('/tmp/workflow.json', JSON.stringify(workflow))
  say('\n$ comfy-machine submit --wait --out /tmp/images workflow.json')
  const { code } = await host.exec('comfy-machine submit --wait --out /tmp/images /tmp/workflow.json', { echo: true })
  const [image] = (await host.exec('ls /tmp/images')).stdout.trim().split('\n')
  if (code !== 0 || image === undefined || image === '') {
    say('No image came back.')
    return false
  }
  const bytes = await readFile(path.join(`/proc/${host.leaderPid()}/root/tmp/images`, image))
  const isImage = bytes.subarray(0, 8).toString('hex') === PNG_SIGNATURE
  say(isImage ? `The image came back: ${image}, ${bytes.length} bytes.` : `${image} is not a PNG.`)
  return isImage
}

async function sayWhereToLook(host: Host): Promise<void> {
  const roots = async () => (await readSpans(host)).filter((span) => span.name === STARTUP_SPAN)
  let spans = await roots()
  for (let tries = 0; spans.length === 0 && tries < DELIVERY_TRIES; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 250))
    spans = await roots()
  }
  say(`
The collector holds ${spans.length} trace(s): ${spans.map((span) => span.traceId).join(', ')}

Look around in the host (from another terminal, as root):
  nsenter --all --target ${host.leaderPid()} bash -l
    comfy-machine status                 the 21 steps
    comfy-machine trace                  the waterfall of the start
    systemctl status comfyui@gpu0        one ComfyUI
    journalctl -u comfyui@gpu0           its journal
    journalctl COMFY_STEP=17             one step across all units
    curl -s http://127.0.0.1:9090/ready  what a load balancer asks
`)
}

process.exitCode = await demo(!process.argv.includes('--exit'))

import { describe, expect, test } from 'vitest'
import { hubChannel, hubMessage, type WorkerActivity } from '../../../src/emit/hub-message.ts'
import { HubPublisher, type PublisherSources } from '../../../src/emit/hub-publisher.ts'
import { foldUnit } from '../../../src/observe/fold-unit.ts'
import { active, at, failed, foldAll, inPhase, planned } from '../observe/build-machine.ts'

const { machine } = foldAll(inPhase('starting'), [
  (before) => foldUnit(before, active('comfyui@gpu0.service', 1, 2), []),
  (before) => foldUnit(before, active('redis-worker@gpu0.service', 2, 3), []),
  (before) => foldUnit(before, failed('comfyui@gpu1.service', 1, 2), []),
])
const idle = { is_connected: true, status: 'idle', current_job_id: null, last_activity: null } as const
const context = {
  healthUrl: 'http://box:9090/health',
  nowUs: at(30),
  activity: new Map<string, WorkerActivity>([
    ['m1-worker-comfyui-0', idle],
    ['m1-worker-comfyui-1', { ...idle, last_activity: 'before' }],
  ]),
}

describe('hubMessage', () => {
  test('has the shape that the hub’s subscribers know', () => {
    expect(hubMessage(machine.state, 'periodic', context)).toEqual({
      machine_id: 'm1',
      timestamp: new Date(at(30) / 1000).toISOString(),
      update_type: 'periodic',
      structure: {
        gpu_count: 2,
        capabilities: ['comfyui'],
        workers: {
          'm1-worker-comfyui-0': {
            worker_id: 'm1-worker-comfyui-0',
            unit: 'redis-worker@gpu0.service',
            gpu_id: 0,
            worker_type: 'comfyui',
            services: ['comfyui'],
          },
          'm1-worker-comfyui-1': {
            worker_id: 'm1-worker-comfyui-1',
            unit: 'redis-worker@gpu1.service',
            gpu_id: 1,
            worker_type: 'comfyui',
            services: ['comfyui'],
          },
        },
        services: expect.objectContaining({}),
      },
      status: {
        machine: { phase: 'starting', uptime_ms: 30_000 },
        workers: {
          'm1-worker-comfyui-0': idle,
          // Its unit does not run: what it said last is not true any more.
          'm1-worker-comfyui-1': {
            is_connected: false,
            status: 'disconnected',
            current_job_id: null,
            last_activity: 'before',
          },
        },
        services: {
          'comfyui@gpu0': {
            worker_id: 'm1-worker-comfyui-0',
            service_type: 'comfyui',
            unit: 'comfyui@gpu0.service',
            status: 'active',
            health: 'healthy',
          },
          'comfyui@gpu1': {
            worker_id: 'm1-worker-comfyui-1',
            service_type: 'comfyui',
            unit: 'comfyui@gpu1.service',
            status: 'inactive',
            health: 'unhealthy',
          },
        },
      },
      health_url: 'http://box:9090/health',
    })
  })

  test('a service of which systemd has said nothing is unknown', () => {
    const { status } = hubMessage(planned(1).state, 'initial', context) as { status: { services: object } }
    expect(status.services).toMatchObject({ 'comfyui@gpu0': { status: 'unknown', health: 'unknown' } })
  })

  test.each([
    ['initial', 'starting', 'starting'],
    ['periodic', 'ready', 'ready'],
    ['machine_ready', 'starting', 'ready'],
    ['event_driven', 'degraded', 'starting'],
    ['periodic', 'failed', 'starting'],
    ['shutdown', 'ready', 'shutdown'],
  ] as const)('%s while %s says %s', (updateType, phase, said) => {
    const { status } = hubMessage(inPhase(phase).state, updateType, context) as { status: object }
    expect(status).toMatchObject({ machine: { phase: said } })
  })
})

describe('HubPublisher', () => {
  const sources: PublisherSources = {
    state: () => machine.state,
    readActivity: async () => context.activity,
    nowUs: () => at(30),
    hostName: 'box',
  }

  test('says initial at once, on the channel of the machine, and closes', async () => {
    const sent: [string, string][] = []
    let isClosed = false
    const publisher = new HubPublisher(sources)
    publisher.start({
      publish: async (channel, message) => {
        sent.push([channel, (JSON.parse(message) as { update_type: string }).update_type])
        return undefined
      },
      close: async () => {
        isClosed = true
      },
    })
    expect(await publisher.tell('machine_ready')).toBeUndefined()
    await publisher.stop()
    expect(sent).toEqual([
      [hubChannel('m1'), 'initial'],
      [hubChannel('m1'), 'machine_ready'],
    ])
    expect(hubChannel('m1')).toBe('machine:status:m1')
    expect(isClosed).toBe(true)
  })

  test('says why it could not publish, and never fails', async () => {
    const publisher = new HubPublisher({ ...sources, readActivity: () => Promise.reject(new Error('no such file')) })
    expect(await publisher.tell('initial')).toBeUndefined()
    publisher.start({ publish: async () => undefined, close: async () => undefined })
    expect(await publisher.tell('periodic')).toBe('no such file')
    await publisher.stop()
  })
})

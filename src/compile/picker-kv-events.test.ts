import { expect, it } from '@jest/globals'
import { precisePrefixCacheParameters } from '../inference/scheduling/plugins/precise-prefix-cache.ts'

const read = (parameters: unknown) => precisePrefixCacheParameters.safeParse(parameters)

it("has llm-d's defaults, and what was read is read again to the same", () => {
  const { data } = read({ kvEventsConfig: { podDiscoveryConfig: { podLabelSelector: 'a=b, c!=d,e,!f' } } })
  expect(data).toMatchObject({
    tokenProcessorConfig: { blockSizeTokens: 16, hashSeed: '' },
    indexerConfig: {
      kvCacheBackendConfigs: [
        { name: 'gpu', weight: 1 },
        { name: 'cpu', weight: 0.8 },
      ],
    },
    kvEventsConfig: { topicFilter: 'kv@', podDiscoveryConfig: { socketPort: 5557, replaySocketPort: 0 } },
    speculativeIndexing: false,
    speculativeTTL: 2000,
  })
  expect(data!.kvEventsConfig.podDiscoveryConfig.podLabelSelector.map(({ operator }) => operator)).toEqual([
    'equals',
    'differs',
    'exists',
    'absent',
  ])
  expect(read(data).data).toEqual(data)
  const memory = {
    indexerConfig: { kvBlockIndexConfig: { costAwareMemoryConfig: { size: '2GiB' } } },
    speculativeTTL: '3s',
  }
  expect(read(read(memory).data).data).toMatchObject({
    indexerConfig: { kvBlockIndexConfig: { costAwareMemoryConfig: { size: 2 ** 31 } } },
    speculativeTTL: 3000,
  })
})

it.each([
  [{ indexerConfig: { kvBlockIndexConfig: { redisConfig: { address: 'x' } } } }, /memory of this process/],
  [{ indexerConfig: { kvBlockIndexConfig: { valkeyConfig: {} } } }, /memory of this process/],
  [{ kvEventsConfig: { zmqEndpoint: 'tcp://*:5557' } }, /podDiscoveryConfig/],
  [{ kvEventsConfig: { discoverPods: false } }, /must be true/],
  [{ kvEventsConfig: { engineType: 'other' } }, /vllm/],
  [{ kvEventsConfig: { podDiscoveryConfig: { podLabelSelector: 'a in (b)' } } }, /no requirement/],
  [
    {
      indexerConfig: {
        kvCacheBackendConfigs: [
          { name: 'gpu', weight: 1 },
          { name: 'GPU', weight: 1 },
        ],
      },
    },
    /twice/,
  ],
  [{ speculativeTTL: 'soon' }, /duration|Invalid/],
  [{ sessionManager: 'x' }, /sessions/],
])('refuses %j', (parameters, message) => {
  expect(JSON.stringify(read(parameters).error?.issues)).toMatch(message)
})

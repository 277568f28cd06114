import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { pickMaxScores } from '../pickers/max-score-picker.ts'
import { pickRandom } from '../pickers/random-picker.ts'
import { pickWeightedRandom } from '../pickers/weighted-random-picker.ts'
import type { PickerType } from './plugin-type.ts'

export const pickerParameters = object({
  /** Length of the ordered list: the picked endpoint and those to fall back to. */
  maxNumOfEndpoints: z.int().min(1).max(8, 'at most 8').optional(),
})

export const maxScorePicker: PickerType = {
  type: 'max-score-picker',
  role: 'picker',
  parameters: pickerParameters,
  pick: pickMaxScores,
}
export const randomPicker: PickerType = {
  type: 'random-picker',
  role: 'picker',
  parameters: pickerParameters,
  pick: pickRandom,
}
export const weightedRandomPicker: PickerType = {
  type: 'weighted-random-picker',
  role: 'picker',
  parameters: pickerParameters,
  pick: pickWeightedRandom,
}

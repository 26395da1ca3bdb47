"""Every name of another library that the package uses although that library does not promise to keep it.

Who changes the supported versions reads this list: each row says what the package needs a name for, and which test to
run. ``tests/test_private_apis.py`` compares the list with the sources, so that a use that is not listed fails, and with
the installed versions, so that a name that is gone is found before a user finds it. What has no underscore is found in
imports from transformers and in the registration; the rest of it was listed by hand.

Names of huggingface_hub are not here: the package uses its public ones alone.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OVERRIDDEN_HOOKS", "PRIVATE_APIS", "UNDOCUMENTED_APIS", "PrivateApi"]


@dataclass(frozen=True)
class PrivateApi:
    """One name that may change without notice.

    Attributes:
        library: The distribution that has the name, or ``"standard library"``.
        name: Dotted path of it. Where only objects have it at run time, or it is an argument, a colon stands before
            it, and before the colon the module whose code sets, reads or takes it.
        used_in: The files that use it, relative to this folder.
        what_for: What the package needs it for, and why nothing public will do, in whole sentences.
        test: The test to run when the name changes: it exercises the use, or comes nearest to it.
    """

    library: str
    name: str
    used_in: tuple[str, ...]
    what_for: str
    test: str


PRIVATE_APIS: tuple[PrivateApi, ...] = (
    PrivateApi(
        library="datasets",
        name="datasets.arrow_dataset:_fingerprint",
        used_in=(
            "qa/datasets.py",
            "qa/features.py",
            "reduction/shortened_datasets.py",
            "training/distillation/cached_logits.py",
        ),
        what_for=(
            "The keys of the cached records and windows depend on the data that they were made from. A data set"
            " publishes no other key that follows its transformations."
        ),
        test="tests/qa/test_features.py::test_cache_key_depends_on_the_questions",
    ),
    PrivateApi(
        library="standard library",
        name="types.FrameType.f_back",
        used_in=("trainer_callback.py",),
        what_for=(
            "The pruning callback looks at the caller of its first event to find the handler of the callbacks."
            " Python documents the attribute. What it is used for, nobody promises: see f_locals."
        ),
        test="tests/pruning/test_callback.py::TestLogs::test_the_callback_runs_before_the_reporters",
    ),
    PrivateApi(
        library="standard library",
        name="types.FrameType.f_locals",
        used_in=("trainer_callback.py",),
        what_for=(
            "The local variable self of CallbackHandler.call_event is the handler, in which the pruning callback"
            " moves itself before the reporters, so that they see what it adds to the logs. There is no public way:"
            " an event gets the model and the optimizer, but neither the trainer nor the handler, and a user's"
            " callbacks always come last."
        ),
        test="tests/pruning/test_callback.py::TestLogs::test_reach_history_and_tensorboard",
    ),
    PrivateApi(
        library="torch",
        name="torch.Tensor._version",
        used_in=("model/applications.py", "pruning/maskable.py"),
        what_for=(
            "A masked or cut weight is made anew when the weight was changed in place, which this counter tells. torch"
            " has public ways to raise the counter, and none to read it."
        ),
        test="tests/pruning/test_masked_linear.py::TestNeverStale::test_after_an_optimizer_step",
    ),
    PrivateApi(
        library="torch",
        name="torch._dynamo.eval_frame:_orig_mod",
        used_in=("qa/kernels.py",),
        what_for=(
            "A model that torch.compile wrapped keeps its own kernels, and this attribute tells that it is one."
            " torch.compiler says whether something is being compiled, not whether it was."
        ),
        test="tests/qa/test_kernels.py::test_autocast_compilation_and_other_devices_keep_their_way",
    ),
    PrivateApi(
        library="torch",
        name="torch.nn.Module._compiled_call_impl",
        used_in=("qa/kernels.py",),
        what_for=(
            "A model that was compiled in place by its method compile keeps its own kernels, and only this attribute"
            " tells it."
        ),
        test="tests/qa/test_kernels.py::test_autocast_compilation_and_other_devices_keep_their_way",
    ),
    PrivateApi(
        library="torch",
        name="torch.nn.modules.module:_is_replica",
        used_in=("training/distillation/lesson.py",),
        what_for=(
            "A student with a teacher refuses to run in the threads of DataParallel, whose copies of a model are known"
            " by this attribute alone."
        ),
        test="tests/training/distillation/test_teaching.py::test_a_replica_of_data_parallel_is_refused",
    ),
    PrivateApi(
        library="torch",
        name="torch.ops.mkldnn._linear_pointwise",
        used_in=("qa/kernels.py",),
        what_for=(
            "This is the linear layer of oneDNN, which is more than twice as fast on some processors. torch has no"
            " public operator for it. Where it is missing, the default one runs."
        ),
        test="tests/qa/test_kernels.py::test_linear_layer_is_the_same_function",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.PreTrainedConfig._attn_implementation",
        used_in=(
            "model/conversion.py",
            "model/headless.py",
            "model/modeling_palbert.py",
            "speed/latency_cache.py",
        ),
        what_for=(
            "PAL-BERT's encoder tells its implementation of attention in an attribute, as ALBERT's does;"
            " transformers itself does not read it there. Attention without heads returns weights where this"
            " implementation does, an ALBERT that becomes a PAL-BERT keeps it, and measured times depend on it. The"
            " configuration publishes it under no other name."
        ),
        test="tests/model/test_modeling_palbert.py::test_hidden_states_and_attentions_equal_stock_alberts",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.core_model_loading:_is_hf_initialized",
        used_in=("storage/quantizer.py",),
        what_for=(
            "A tensor that was not loaded from the checkpoint lacks this mark, and a packed checkpoint without one"
            " of its tensors is refused. The loader tells its caller which keys were missing, but not the quantizer."
        ),
        test="tests/storage/test_loading.py::test_a_vector_that_is_missing_for_another_class",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.core_model_loading:_weight_conversions",
        used_in=("storage/quantizer.py",),
        what_for=(
            "Saving would undo the conversions of loading, and unpacking is none to undo: the quantizer packs by"
            " itself. So it takes its own conversions out of the list that the loader leaves on the model."
        ),
        test="tests/storage/test_loading.py::test_the_weights_come_back_bit_for_bit_and_are_saved_the_same",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.modeling_utils.PreTrainedModel._load_pretrained_model",
        used_in=("registration.py",),
        what_for=(
            "It is the one step of from_pretrained that knows both the files and the config in use, and that every load"
            " passes, with a quantizer and without. Packed weights under a config that does not list them are refused"
            " there, before transformers makes up others."
        ),
        test="tests/storage/test_stock_models.py::test_packed_weights_under_the_config_of_a_model_in_memory",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.models.auto.configuration_auto.CONFIG_MAPPING._modules",
        used_in=("registration.py",),
        what_for=(
            "The mapping looks a class up in the module that stands here, so that a name is enough and the class"
            " loads when it is asked for. The public method register wants the class itself, and with it torch."
        ),
        test="tests/test_registration.py::test_auto_config_builds_ours",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.models.auto.modeling_auto.MODEL_MAPPING._model_mapping",
        used_in=("registration.py",),
        what_for=(
            "Models and tokenizers are registered by name, so that they load when they are asked for. The public"
            " method register wants classes."
        ),
        test="tests/test_registration.py::test_mappings_can_be_looked_at_as_a_whole",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.models.auto.modeling_auto.MODEL_MAPPING._reverse_config_mapping",
        used_in=("registration.py",),
        what_for=(
            "It leads from the name of a configuration class to the model type, and is a copy from the time when the"
            " mapping was made, so that it must be told of ours."
        ),
        test="tests/test_registration.py::test_auto_classes_build_load_and_save_our_models",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.trainer:_internal_call",
        used_in=("training/pushing.py",),
        what_for="A push saves the model first, and without this argument that save would push once more.",
        test="tests/hub/test_push.py::test_strategies",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.utils.hub:_raise_exceptions_for_missing_entries",
        used_in=("analysis/facts.py", "model/tokenization_palbert.py"),
        what_for=(
            "A file that a repository does not have is an answer and no error here. Without this argument it cannot"
            " be told from a Hub that cannot be reached."
        ),
        test="tests/model/test_tokenization_palbert.py::test_a_hub_repository_that_cannot_be_reached_is_said_to_be_so",
    ),
)
"""Private names, which begin with an underscore or lie in the frame of another function."""

UNDOCUMENTED_APIS: tuple[PrivateApi, ...] = (
    PrivateApi(
        library="accelerate",
        name="accelerate.optimizer:optimizer",
        used_in=("pruning/callback.py",),
        what_for=(
            "The gradients must be unscaled before the scores read them, and the scaler knows the inner optimizer"
            " only. The wrapper has no public way to it."
        ),
        test=(
            "tests/pruning/test_trainer_proofs.py"
            "::TestPrecision::test_a_step_that_the_scaler_skips_leaves_weights_and_scores_alone"
        ),
    ),
    PrivateApi(
        library="accelerate",
        name="accelerate.optimizer:scaler",
        used_in=("pruning/callback.py",),
        what_for=(
            "A step that the gradient scaler skips must leave the scores alone too, and the scaler says whether it did."
        ),
        test=(
            "tests/pruning/test_trainer_proofs.py"
            "::TestPrecision::test_a_step_that_the_scaler_skips_leaves_weights_and_scores_alone"
        ),
    ),
    PrivateApi(
        library="jieba",
        name="jieba:tmp_dir",
        used_in=("text/segmentation.py",),
        what_for="The parsed dictionary is kept where only the user may write, as jieba loads the file unchecked.",
        test="tests/text/test_segmentation.py::test_the_parsed_dictionary_is_kept_where_only_the_user_may_write",
    ),
    PrivateApi(
        library="standard library",
        name="sys.meta_path",
        used_in=("registration.py",),
        what_for=(
            "Python documents it. A finder at its front fills each registry of transformers right after the module"
            " that holds it is loaded, so that importing this package imports none of them."
        ),
        test="tests/test_registration.py::test_registration_does_not_depend_on_the_order_of_imports",
    ),
    PrivateApi(
        library="tokenizers",
        name="tokenizers.pre_tokenizers.PreTokenizer.custom",
        used_in=("text/segmentation.py",),
        what_for=(
            "It makes a part of a tokenizer of jieba. The manual of tokenizers does not describe it; an example in"
            " its repository does."
        ),
        test="tests/text/test_segmentation.py::test_words_are_those_of_jieba_without_its_whitespace",
    ),
    PrivateApi(
        library="torch",
        name="torch.optim.lr_scheduler:initial_lr",
        used_in=("pruning/optimizer.py",),
        what_for=(
            "Schedulers write the peak rate into each group of the optimizer, and scores with a rate of their own"
            " follow the schedule by it."
        ),
        test="tests/pruning/test_optimizer.py::test_a_rate_of_their_own_follows_the_schedule",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.Pipeline.get_iterator",
        used_in=("pipelines/question_answering.py",),
        what_for=(
            "Overridden, as windows of several questions share batches. The call of a pipeline hands lists and"
            " generators to it, with these arguments in this order."
        ),
        test="tests/pipelines/test_question_answering.py::test_same_answers_as_the_naive_reference",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.Pipeline.run_single",
        used_in=("pipelines/question_answering.py",),
        what_for="Overridden for the same reason: the call of a pipeline hands a single question to it.",
        test="tests/pipelines/test_question_answering.py::test_same_answers_as_the_naive_reference",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.activations.ACT2FN",
        used_in=("model/configuration_palbert.py", "model/removal.py"),
        what_for=(
            "A configuration with an activation that does not exist is refused at once; of a feed-forward unit that"
            " receives nothing, the activation of its bias is left."
        ),
        test=(
            "tests/model/test_configuration_palbert.py"
            "::test_wrong_values_are_refused_with_field_value_and_allowed_values"
        ),
    ),
    PrivateApi(
        library="transformers",
        name="transformers.activations.FastGELUActivation",
        used_in=("qa/kernels.py",),
        what_for="Where only answers are wanted, it is replaced by torch's kernel for the same function.",
        test="tests/qa/test_kernels.py::test_fused_activation_is_the_same_function",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.activations.NewGELUActivation",
        used_in=("qa/kernels.py",),
        what_for="Where only answers are wanted, it is replaced by torch's kernel for the same function.",
        test="tests/qa/test_kernels.py::test_fused_activation_is_the_same_function",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.core_model_loading:full_layer_name",
        used_in=("storage/quantizer.py",),
        what_for="The loader passes the name of the parameter that is being converted under this name.",
        test="tests/storage/test_loading.py::test_the_weights_come_back_bit_for_bit_and_are_saved_the_same",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.integrations.accelerate.load_offloaded_parameter",
        used_in=("storage/quantizer.py",),
        what_for="Weights that a device map put on the disk are read back before they are packed.",
        test="tests/storage/test_loading.py::test_offloading_to_the_disk",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.modeling_utils.remove_tied_weights_from_state_dict",
        used_in=("storage/quantizer.py",),
        what_for="Tied weights are written once, under the name that transformers would choose.",
        test="tests/storage/test_loading.py::test_tied_weights_are_stored_once",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.modeling_utils:all_tied_weights_keys",
        used_in=("storage/quantizer.py",),
        what_for=(
            "A tied weight is not in the file under its second name, and it is not missing. The loader of 5.23 marks"
            " it as loaded too, so that this is a second safeguard."
        ),
        test="tests/storage/test_loading.py::test_tied_weights_are_stored_once",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.modeling_utils:checkpoint_files",
        used_in=("storage/quantizer.py",),
        what_for="The loader passes the files under this name, and their headers are checked before a tensor is read.",
        test="tests/storage/test_loading.py::test_a_pickle_is_not_opened",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.modeling_utils:hf_device_map",
        used_in=("storage/quantizer.py",),
        what_for="It tells whether weights were put on the disk or in another memory.",
        test="tests/storage/test_loading.py::test_offloading_to_the_disk",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.modeling_utils:_hf_peft_config_loaded",
        used_in=("storage/quantizer.py",),
        what_for="It tells that save_pretrained will write an adapter alone, which is not packed.",
        test="tests/storage/test_saving.py::test_an_adapter_is_not_packed",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.modeling_utils:hf_quantizer",
        used_in=("storage/quantizer.py", "storage/saving.py"),
        what_for="The model keeps its quantizer here, and save_pretrained asks it for what to write.",
        test="tests/storage/test_saving.py::test_it_can_be_switched_off_and_changed",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.models.albert.modeling_albert.AlbertAttention",
        used_in=("model/modeling_palbert.py",),
        what_for="PAL-BERT's attention is ALBERT's with heads of any width.",
        test="tests/model/test_modeling_palbert.py::test_removed_heads_leave_narrower_projections_that_round_trip",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.models.albert.modeling_albert.AlbertEmbeddings",
        used_in=("model/modeling_palbert.py",),
        what_for="PAL-BERT has ALBERT's embeddings.",
        test="tests/model/test_modeling_palbert.py::test_an_albert_checkpoint_gives_exactly_alberts_output",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.models.albert.modeling_albert.AlbertLayer",
        used_in=("model/modeling_palbert.py",),
        what_for="PAL-BERT's layer is ALBERT's around another attention.",
        test="tests/model/test_modeling_palbert.py::test_an_albert_checkpoint_gives_exactly_alberts_output",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.models.albert.modeling_albert.AlbertLayerGroup",
        used_in=("model/modeling_palbert.py",),
        what_for="PAL-BERT's group of layers is ALBERT's with other layers.",
        test="tests/model/test_modeling_palbert.py::test_an_albert_checkpoint_gives_exactly_alberts_output",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.models.albert.modeling_albert.AlbertMLMHead",
        used_in=("model/modeling_palbert.py",),
        what_for="PAL-BERT predicts masked tokens with ALBERT's head.",
        test="tests/model/test_modeling_palbert.py::test_an_albert_checkpoint_gives_exactly_alberts_output",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.models.albert.modeling_albert.AlbertSOPHead",
        used_in=("model/modeling_palbert.py",),
        what_for="PAL-BERT predicts the order of sentences with ALBERT's head.",
        test="tests/model/test_modeling_palbert.py::test_an_albert_checkpoint_gives_exactly_alberts_output",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.models.albert.modeling_albert.AlbertTransformer",
        used_in=("model/modeling_palbert.py",),
        what_for="PAL-BERT's stack of layers is ALBERT's, which it extends by the scaling of gradients.",
        test="tests/model/test_modeling_palbert.py::test_an_albert_checkpoint_gives_exactly_alberts_output",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES",
        used_in=("registration.py",),
        what_for="It leads from a model type to the name of its configuration class.",
        test="tests/test_registration.py::test_auto_config_builds_ours",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.models.auto.tokenization_auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS",
        used_in=("registration.py",),
        what_for=(
            "The tokenizer class that a folder names is obeyed unless its model type stands here, and PAL-BERT goes"
            " by the files."
        ),
        test="tests/model/test_tokenization_palbert.py::test_a_wordpiece_folder_gets_bert_tokenizer",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.models.auto.tokenization_auto.REGISTERED_TOKENIZER_CLASSES",
        used_in=("registration.py",),
        what_for="It leads from the name of a tokenizer class to the class, for folders that name it.",
        test="tests/baselines/test_tokenization.py::test_saved_and_loaded_with_its_user_dictionary",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.models.auto.tokenization_auto.tokenizer_class_from_name",
        used_in=("model/tokenization_palbert.py",),
        what_for="A folder may name its tokenizer class, of which there must be one.",
        test="tests/model/test_tokenization_palbert.py::test_a_class_that_does_not_exist_is_named",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.pipelines.REMOVED_TASKS",
        used_in=("registration.py",),
        what_for=(
            "The task question-answering is on this list of what is refused, which is looked at before the registry"
            " is, so that it must be taken off."
        ),
        test="tests/test_registration.py::test_the_pipeline_is_registered_only_where_the_task_is_absent",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.pipelines.SUPPORTED_TASKS",
        used_in=("registration.py",),
        what_for=(
            "The pipeline is entered by its name where transformers enters its own by name, so that it loads when it"
            " is used. The public method register_pipeline wants the class."
        ),
        test="tests/test_registration.py::test_the_pipeline_is_registered_only_where_the_task_is_absent",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.quantizers.auto.AUTO_QUANTIZATION_CONFIG_MAPPING",
        used_in=("registration.py",),
        what_for=(
            "A stand-in for the configuration of packed checkpoints is entered here. The public decorator wants the"
            " class, and with it torch."
        ),
        test="tests/storage/test_loading.py::test_the_weights_come_back_bit_for_bit_and_are_saved_the_same",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.quantizers.auto.AUTO_QUANTIZER_MAPPING",
        used_in=("registration.py",),
        what_for="A stand-in for the quantizer is entered here, for the same reason.",
        test="tests/storage/test_loading.py::test_the_weights_come_back_bit_for_bit_and_are_saved_the_same",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.tokenization_utils_base:init_kwargs",
        used_in=("baselines/tokenization.py",),
        what_for="Arguments of a tokenizer's own are saved and read with it through this dictionary.",
        test="tests/baselines/test_tokenization.py::test_saved_and_loaded_with_its_user_dictionary",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.trainer:callback_handler",
        used_in=("training/pushing.py", "training/trainer.py"),
        what_for="Evaluations and pushes of our trainers must reach the callbacks as those of Trainer do.",
        test="tests/hub/test_push.py::test_a_trained_model_comes_back",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.trainer:hub_model_id",
        used_in=("hub/callback.py", "training/pushing.py"),
        what_for="It is the full name of the repository, with its owner, once the repository is there.",
        test="tests/hub/test_push.py::test_a_trained_model_comes_back",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.trainer:push_in_progress",
        used_in=("hub/push.py", "training/pushing.py"),
        what_for="Trainer waits for the push that is in it before the training ends.",
        test="tests/hub/test_push.py::test_strategies",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.trainer_callback.CallbackHandler",
        used_in=("trainer_callback.py",),
        what_for=(
            "The manual calls it internal. The pruning callback checks that what it found in the frame of its caller"
            " is one."
        ),
        test="tests/pruning/test_callback.py::TestLogs::test_the_callback_runs_before_the_reporters",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.trainer_callback.ExportableState",
        used_in=("pruning/callback.py",),
        what_for=(
            "Trainer writes the state of such a callback into trainer_state.json. The manual uses it without a page of"
            " its own. A run that goes on compares its settings with it."
        ),
        test="tests/pruning/test_resuming.py::TestSettings::test_other_ones_are_an_error",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.trainer_callback:callbacks",
        used_in=("trainer_callback.py", "training/trainer.py"),
        what_for="The order of this list is the order in which callbacks run.",
        test="tests/pruning/test_callback.py::TestLogs::test_the_callback_runs_before_the_reporters",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.trainer_utils.HubStrategy",
        used_in=("training/pushing.py",),
        what_for="It tells what of a checkpoint is pushed in the middle of training.",
        test="tests/hub/test_push.py::test_strategies",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.trainer_utils.PredictionOutput",
        used_in=("training/trainer.py",),
        what_for="Our trainer returns what Trainer.predict returns.",
        test="tests/training/test_trainer.py::test_prediction_writes_its_own_files_and_scores_where_it_can",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.trainer_utils.speed_metrics",
        used_in=("training/trainer.py",),
        what_for="Our evaluation reports its speed as Trainer does.",
        test="tests/training/test_trainer.py::test_evaluation_scores_exactly_what_it_writes",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.utils.cached_file",
        used_in=("analysis/facts.py", "experiments/reproduction.py", "model/tokenization_palbert.py"),
        what_for=(
            "It finds a file of a model in a folder, in the cache or on the Hub, by the arguments of from_pretrained."
        ),
        test="tests/model/test_tokenization_palbert.py::test_a_wordpiece_folder_gets_bert_tokenizer",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.utils.generic.can_return_tuple",
        used_in=("model/modeling_palbert.py",),
        what_for="It gives a model's forward the argument return_dict.",
        test="tests/pipelines/test_question_answering.py::test_model_that_returns_a_tuple",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.utils.hub.PushInProgress",
        used_in=("training/pushing.py",),
        what_for="It is what Trainer expects in its attribute push_in_progress.",
        test="tests/hub/test_push.py::test_strategies",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.utils.hub:jobs",
        used_in=("hub/push.py",),
        what_for="A push in the background that failed is told to the user, and is then forgotten.",
        test="tests/hub/test_faults.py::test_a_failed_push_in_training_is_told",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.quantizers.base.HfQuantizer.update_attn_implementation",
        used_in=("storage/quantizer.py",),
        what_for=(
            "The one hook of a quantizer that sees the config before transformers looks there for the name of the"
            " weights' file (transformers_weights), where packed checkpoints tell a process without the package what"
            " it lacks."
        ),
        test="tests/storage/test_without_the_package.py::test_packed_folders_are_errors",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.utils.quantization_config.QuantizationConfigMixin",
        used_in=("storage/sparse_config.py",),
        what_for="A configuration of quantization must derive from it.",
        test="tests/storage/test_loading.py::test_the_config_says_what_is_packed",
    ),
    *(
        PrivateApi(
            library="transformers",
            name=f"transformers.exporters.{name}",
            used_in=("export/graphs.py",),
            what_for=(
                "They trace a model and convert it for ONNX Runtime and OpenVINO, in float32 or int8. transformers"
                " calls its exporters experimental, and there is no other way from its models to these runtimes that"
                " its present releases support."
            ),
            test="tests/export/test_exporting.py::test_logits_are_those_of_the_model_for_batches_of_any_shape",
        )
        for name in (
            "NNCFOpenVINOQuantizer",
            "NNCFQuantizationConfig",
            "NNCFWeightCompressionConfig",
            "OnnxConfig",
            "OnnxExporter",
            "OnnxRuntimeDynamicConfig",
            "OnnxRuntimeQuantizer",
            "OnnxRuntimeStaticConfig",
            "OpenVINOConfig",
            "OpenVINOExporter",
        )
    ),
)
"""Names without an underscore that no manual describes, or that it describes for another use than ours."""

OVERRIDDEN_HOOKS: tuple[PrivateApi, ...] = (
    PrivateApi(
        library="evaluate",
        name="evaluate.Metric._compute",
        used_in=(
            "qa/metrics/cmrc2018/cmrc2018.py",
            "qa/metrics/palbert_qa/palbert_qa.py",
            "qa/metrics/squad/squad.py",
            "qa/metrics/squad_v2/squad_v2.py",
        ),
        what_for="The manual of evaluate tells the author of a metric to define it: it computes the scores.",
        test="tests/qa/metrics/test_metrics.py::test_evaluate_module_gives_the_same_figures",
    ),
    PrivateApi(
        library="evaluate",
        name="evaluate.Metric._info",
        used_in=(
            "qa/metrics/cmrc2018/cmrc2018.py",
            "qa/metrics/palbert_qa/palbert_qa.py",
            "qa/metrics/squad/squad.py",
            "qa/metrics/squad_v2/squad_v2.py",
        ),
        what_for="The manual of evaluate tells the author of a metric to define it: it describes the inputs.",
        test="tests/qa/metrics/test_metrics.py::test_evaluate_module_gives_the_same_figures",
    ),
    PrivateApi(
        library="torch",
        name="torch.nn.Module._apply",
        used_in=("model/applications.py", "pruning/gated_linear.py", "pruning/maskable.py"),
        what_for="Every change of dtype or device goes through it, and makes a masked or cut weight stale.",
        test="tests/pruning/test_masked_linear.py::TestNeverStale::test_when_moved_to_another_dtype",
    ),
    PrivateApi(
        library="torch",
        name="torch.nn.Module._load_from_state_dict",
        used_in=("pruning/maskable.py",),
        what_for="It puts a weight together again that the checkpoint holds in two halves.",
        test="tests/pruning/test_masked_linear.py::TestCheckpoints::test_round_trip_is_exact",
    ),
    PrivateApi(
        library="torch",
        name="torch.nn.Module._save_to_state_dict",
        used_in=("pruning/maskable.py",),
        what_for="It writes the effective weight under the usual key, so that everyone can read the checkpoint.",
        test="tests/pruning/test_masked_linear.py::TestCheckpoints::test_the_key_weight_holds_the_effective_weight",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.Pipeline._forward",
        used_in=("pipelines/question_answering.py",),
        what_for="The manual tells the author of a pipeline to define it: it runs the model.",
        test="tests/pipelines/test_question_answering.py::test_same_answers_as_the_naive_reference",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.Pipeline._load_feature_extractor",
        used_in=("pipelines/question_answering.py",),
        what_for="A pipeline says with it that it reads no sound.",
        test="tests/pipelines/test_question_answering.py::test_loading_by_path",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.Pipeline._load_image_processor",
        used_in=("pipelines/question_answering.py",),
        what_for="A pipeline says with it that it reads no pictures.",
        test="tests/pipelines/test_question_answering.py::test_loading_by_path",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.Pipeline._load_processor",
        used_in=("pipelines/question_answering.py",),
        what_for="A pipeline says with it that it needs no processor of several kinds of input.",
        test="tests/pipelines/test_question_answering.py::test_loading_by_path",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.Pipeline._load_tokenizer",
        used_in=("pipelines/question_answering.py",),
        what_for="A pipeline says with it that its tokenizer is loaded with the model.",
        test="tests/pipelines/test_question_answering.py::test_loading_by_path",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.Pipeline._load_video_processor",
        used_in=("pipelines/question_answering.py",),
        what_for="A pipeline says with it that it reads no films.",
        test="tests/pipelines/test_question_answering.py::test_loading_by_path",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.Pipeline._sanitize_parameters",
        used_in=("pipelines/question_answering.py",),
        what_for="The manual tells the author of a pipeline to define it: it sorts the arguments of a call.",
        test="tests/pipelines/test_question_answering.py::test_bad_calls",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.PreTrainedModel._can_record_outputs",
        used_in=("model/modeling_palbert.py",),
        what_for=(
            "It names the modules whose outputs are the hidden states and the attentions. ALBERT's own entry would"
            " do, as ours derive from its modules; this one is exact."
        ),
        test="tests/model/test_modeling_palbert.py::test_hidden_states_and_attentions_equal_stock_alberts",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.PreTrainedModel._init_weights",
        used_in=("baselines/modeling.py", "model/modeling_palbert.py"),
        what_for="The manual tells the author of a model to define it: it gives fresh weights their values.",
        test="tests/baselines/test_modeling.py::test_fresh_weights",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.PreTrainedModel._no_split_modules",
        used_in=("model/modeling_palbert.py",),
        what_for="It names the modules that a device map must not divide.",
        test="tests/model/test_modeling_palbert.py::test_a_device_map_divides_no_layer",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.PreTrainedModel._upload_modified_files",
        used_in=("hub/card_on_push.py",),
        what_for=(
            "It is the last step of push_to_hub, which has just overwritten the model card, and the only one at"
            " which ours can be put back into the same commit."
        ),
        test="tests/hub/test_push.py::test_a_model_takes_its_card_along",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.PreTrainedTokenizerFast._encode_plus",
        used_in=("baselines/tokenization.py",),
        what_for=(
            "Every call that encodes text goes through it, and cutting with jieba cannot be saved in the tokenizer"
            " itself, so that it is put in for the time of the call."
        ),
        test="tests/baselines/test_tokenization.py::test_no_token_crosses_the_border_of_a_word",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.Trainer._get_eval_sampler",
        used_in=("training/trainer.py",),
        what_for="It keeps the windows in order under every setting, as logits are matched with them by position.",
        test="tests/training/test_trainer.py::test_grouping_by_length_does_not_shuffle_the_evaluation",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.Trainer._get_train_sampler",
        used_in=("training/pretraining.py",),
        what_for="It puts in the sampler that tells the data set the epoch, so that each epoch has other masks.",
        test="tests/training/test_pretraining.py::test_every_epoch_shows_other_masks",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.Trainer._push_from_checkpoint",
        used_in=("training/pushing.py",),
        what_for="It pushes a checkpoint in one commit and without pickles.",
        test="tests/hub/test_push.py::test_strategies",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.Trainer._set_signature_columns_if_needed",
        used_in=("training/trainer.py",),
        what_for=(
            "It decides which columns of the training data reach the collator: those that the model's forward names. A"
            " teacher's cached logits are read beside the forward, so that it does not name them."
        ),
        test="tests/training/distillation/test_cached_logits.py::test_a_trainer_learns_from_cached_logits",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.quantizers.base.HfQuantizer._dequantize",
        used_in=("storage/quantizer.py",),
        what_for="A packed model has dense weights in memory, so that there is nothing to do.",
        test="tests/storage/test_saving.py::test_transformers_own_way_to_switch_it_off",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.quantizers.base.HfQuantizer._process_model_after_weight_loading",
        used_in=("storage/quantizer.py",),
        what_for=(
            "The manual tells the author of a quantizer to define it: it checks that every packed tensor was restored."
        ),
        test="tests/storage/test_loading.py::test_several_damaged_tensors_are_all_named",
    ),
    PrivateApi(
        library="transformers",
        name="transformers.quantizers.base.HfQuantizer._process_model_before_weight_loading",
        used_in=("storage/quantizer.py",),
        what_for=(
            "The manual tells the author of a quantizer to define it: it checks the files before anything is read."
        ),
        test="tests/storage/test_loading.py::test_a_shard_outside_of_the_folder",
    ),
)
"""Private names that a class of ours defines in the place of its base class's: made for it, if seldom described."""

"""IDS-Extract: shorten the contexts of questions to the passages that matter.

Data sets of falling length, for training small models with short windows, and long documents made short before they
are read. After "IDS-Extract" (ICEIC 2023): each passage of a context gets a score from each of several scorers, the
scores are fused, and passages are kept by falling score.

========================  ============================================================================================
``passages``              a context cut into sentences or blocks, with their characters and tokens
``scorers``               what a passage is worth for a question: BM25, SBERT, DPR, integrated gradients, place
``fusion``                several scores made one: weighted sums with given or fitted weights, reciprocal ranks
``limits``                which passages are kept: those above a threshold, or as many as fit
``answers``               answers found in the shorter text, back at their places in the whole one
``reducer``               all of it in one object, for batches of questions
``settings``              the same from names and numbers, as commands and scripts give them
``score_files``           scores of a large data set, on disk, by several processes
``records``               questions of the SQuAD schema made shorter, and what that cost in answers
``building``              D1 … Dn and the manifest; ``plots``: the picture
``shortened_datasets``    the same for a training that makes them on its way, and the curriculum
``sanity``                whether attributions depend on what the model has learnt
========================  ============================================================================================
"""
